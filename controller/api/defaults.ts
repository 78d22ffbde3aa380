import { type Draft, isDraftObject, propertySchema, type StructuralSchema } from "./structural-schema.ts";

/** Fills in the defaults of every absent field, those inside of a default too, as the API server does on each read and write. */
export function applyDefaults(value: Draft, schema: StructuralSchema): void {
  if (Array.isArray(value)) {
    if (schema.items !== undefined) for (const item of value) applyDefaults(item, schema.items);
    return;
  }
  if (!isDraftObject(value)) return;
  for (const [key, field] of Object.entries(schema.properties ?? {})) {
    if (field.default !== undefined && !Object.hasOwn(value, key)) value[key] = structuredClone(field.default) as Draft;
  }
  for (const [key, child] of Object.entries(value)) {
    const known = propertySchema(schema, key);
    if (known !== undefined) applyDefaults(child, known);
  }
}
