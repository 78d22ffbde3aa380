import fc from "fast-check";
import { type KubeObject, withField } from "./case-builders.ts";
import { agreementCases } from "./cases.ts";

/** Small good objects to start from; the largest say nothing more and take long. */
const good = agreementCases.filter(({ object, accepted }) => accepted && JSON.stringify(object).length < 2_000);

const names = fc.constantFrom("a", "b", "clean", "count", "x-1", "A", "", "1s", "4Mi", "Auto", "None", "GRPC");
const scalars = fc.oneof(
  names,
  fc.integer({ min: -2, max: 70 }),
  fc.boolean(),
  fc.constant(null),
  fc.double({ min: 0, max: 3 }),
);
const values = fc.oneof(
  { weight: 4, arbitrary: scalars },
  { weight: 1, arbitrary: fc.array(scalars, { maxLength: 3 }) },
  { weight: 1, arbitrary: fc.dictionary(fc.constantFrom("name", "value", "file", "json", "steps", "limit"), scalars) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
);

/** Every field of an object, list items included. */
function fieldsOf(value: unknown, path: string): string[] {
  if (typeof value !== "object" || value === null) return [];
  const isList = Array.isArray(value);
  return Object.entries(value).flatMap(([key, child]) => {
    // A key with a dot or bracket in it could not be told from a path.
    if (!/^[\w-]+$/.test(key)) return [];
    const childPath = isList ? `${path}[${key}]` : `${path}.${key}`;
    return [childPath, ...fieldsOf(child, childPath)];
  });
}

const allFields = [...new Set(good.flatMap(({ object }) => fieldsOf(object.spec, "spec")))];

/** A good object in which up to three fields, its own or those of others, hold something else. */
export const randomObjects: fc.Arbitrary<KubeObject> = fc
  .record({
    start: fc.constantFrom(...good),
    changes: fc.array(fc.record({ field: fc.nat(), other: fc.boolean(), value: values }), { maxLength: 3 }),
  })
  .map(({ start, changes }) => changes.reduce(change, start.object));

function change(object: KubeObject, { field, other, value }: { field: number; other: boolean; value: unknown }) {
  const fields = other ? allFields : fieldsOf(object.spec, "spec");
  const path = fields[field % fields.length];
  if (path === undefined) return object;
  try {
    return withField(object, path, value);
  } catch {
    // A part of the path is no object any more.
    return object;
  }
}
