import { MillraceError } from "../../engine/errors.ts";

/**
 * A field that has a default in the CRD, of an object that has been through the API server or the offline check: `crds/`
 * alone says what the default is. Throws MillraceError Internal when the object has not.
 */
export function filled<T>(value: T | undefined, field: string): T {
  if (value !== undefined) return value;
  throw new MillraceError("Internal", `${field} is missing: the object was not given the defaults of its CRD`);
}
