import type { Json } from "../../engine/payload.ts";

/** The same text for the same value, however the keys of its objects are ordered; a member that is undefined is left out, as in JSON. */
export function canonicalJson(value: Json): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  const present = Object.entries(value).filter(([, member]) => member !== undefined);
  const members = present.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`).join(",")}}`;
}
