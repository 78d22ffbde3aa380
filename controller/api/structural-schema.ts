import type { Json } from "../../engine/payload.ts";

/** The three kinds of millrace.dev. */
export type Kind = "Processor" | "Pipeline" | "Execution";

/** The part of a CustomResourceDefinition's structural schema that our CRDs use. */
export interface StructuralSchema {
  readonly type?: "object" | "array" | "string" | "integer" | "number" | "boolean";
  readonly format?: string;
  readonly nullable?: boolean;
  readonly default?: Json;
  readonly enum?: readonly string[];
  readonly properties?: Readonly<Record<string, StructuralSchema>>;
  readonly additionalProperties?: StructuralSchema;
  readonly items?: StructuralSchema;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly "x-kubernetes-int-or-string"?: boolean;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-list-type"?: "atomic" | "map" | "set";
  readonly "x-kubernetes-list-map-keys"?: readonly string[];
  readonly "x-kubernetes-validations"?: readonly ValidationRule[];
}

/** A CEL rule, evaluated on the value that its schema describes. */
export interface ValidationRule {
  readonly rule: string;
  readonly message: string;
  /** Where a violation is reported, from that value on: `.endpoint`. */
  readonly fieldPath?: string;
}

/** Something that the API server would refuse. */
export interface FieldProblem {
  /** `spec.steps[2].when`; empty for the object as a whole. */
  readonly path: string;
  readonly message: string;
  /** What would be right, where it can be told. */
  readonly mend?: string;
}

/** JSON as it is being completed: ours alone, so that it may be written to. */
export type DraftObject = { [key: string]: Draft };
export type Draft = null | boolean | number | string | Draft[] | DraftObject;

export function isDraftObject(value: unknown): value is DraftObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `spec` and `steps` → `spec.steps`. */
export function childPath(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

/** The schema of a property, if the schema knows it. Own properties only: a field may be called `constructor`. */
export function propertySchema(schema: StructuralSchema, key: string): StructuralSchema | undefined {
  const { properties } = schema;
  if (properties !== undefined && Object.hasOwn(properties, key)) return properties[key];
  return schema.additionalProperties;
}
