import type { Json, JsonObject } from "../../engine/payload.ts";

/** JSON as our own code writes it: a field that is undefined is as good as absent. */
export type Draft = Readonly<Record<string, unknown>>;

/**
 * The JSON merge patch (RFC 7386) that makes `to` of `from`, or undefined when nothing differs. Fields that went are
 * null, so a union's old member is removed; lists are replaced whole.
 */
export function mergeDiff(from: Draft, to: Draft): JsonObject | undefined {
  const patch: Record<string, Json> = {};
  for (const key of Object.keys(from)) {
    if (from[key] !== undefined && to[key] === undefined) patch[key] = null;
  }
  for (const [key, value] of Object.entries(to)) {
    const before = from[key];
    if (value === undefined || jsonEqual(before, value)) continue;
    patch[key] = isObject(before) && isObject(value) ? (mergeDiff(before, value) ?? {}) : (value as Json);
  }
  return Object.keys(patch).length > 0 ? patch : undefined;
}

/** Whether there is a null anywhere: a merge patch cannot write one, it would remove the field. */
export function containsNull(value: unknown): boolean {
  if (value === null) return true;
  if (Array.isArray(value)) return value.some(containsNull);
  return isObject(value) && Object.values(value).some(containsNull);
}

/** Equal as JSON. */
export function jsonEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) || Array.isArray(b)) return Array.isArray(a) && Array.isArray(b) && listsEqual(a, b);
  if (!isObject(a) || !isObject(b)) return false;
  for (const key of Object.keys(a)) if (!jsonEqual(a[key], b[key])) return false;
  for (const key of Object.keys(b)) if (b[key] !== undefined && a[key] === undefined) return false;
  return true;
}

function listsEqual(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, index) => jsonEqual(item, b[index]));
}

function isObject(value: unknown): value is Draft {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
