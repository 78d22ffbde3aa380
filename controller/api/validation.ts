import { applyDefaults } from "./defaults.ts";
import { apiVersion } from "./kinds.ts";
import { checkMetadata } from "./object-metadata.ts";
import { prune, unknownField } from "./pruning.ts";
import { checkRules } from "./rules.ts";
import { checkShape } from "./schema-check.ts";
import { schemas } from "./schemas.ts";
import {
  type Draft,
  type DraftObject,
  type FieldProblem,
  isDraftObject,
  type Kind,
  type StructuralSchema,
} from "./structural-schema.ts";

export interface ValidateOptions {
  /** The object as it is now, defaults filled in, when it is being changed: what is immutable is compared with it. */
  readonly old?: unknown;
}

export interface Validation {
  /** A copy of the object without what the server drops and with the defaults it fills in. Fit for use only without problems. */
  readonly object: unknown;
  /** Empty: the server would take the object. */
  readonly problems: readonly FieldProblem[];
}

const topLevelFields = ["apiVersion", "kind", "metadata", "spec", "status"];
/** The server cuts a generateName to this length and adds five characters. */
const maxGeneratedStemLength = 58;

/** Whether the object claims to be a Processor, Pipeline or Execution, of whatever version. */
export function isOurs(object: unknown): boolean {
  if (!isDraftObject(object)) return false;
  return typeof object.apiVersion === "string" && object.apiVersion.startsWith("millrace.dev/");
}

/**
 * What the API server would say to a create (or with `old`, an update) of a Processor, Pipeline or Execution with
 * `fieldValidation=Strict`: unknown fields, metadata, the structural schema, then the CEL rules, each only if the ones
 * before it hold. Differences are listed in `DIFFERENCES.md`. Pure: the argument is not changed.
 */
export function validateObject(object: unknown, { old }: ValidateOptions = {}): Validation {
  const draft = structuredClone(object) as Draft;
  if (!isDraftObject(draft)) return { object, problems: [{ path: "", message: "must be an object" }] };
  const schema = schemaOf(draft);
  if (schema === undefined) return { object, problems: [wrongKind(draft)] };
  const unknown = checkFields(draft, schema);
  completeStatus(draft, old);
  applyDefaults(draft, schema);
  return { object: draft, problems: unknown.length > 0 ? unknown : check(draft, old, schema) };
}

function schemaOf(object: DraftObject): StructuralSchema | undefined {
  const { kind } = object;
  if (object.apiVersion !== apiVersion || typeof kind !== "string" || !Object.hasOwn(schemas, kind)) return undefined;
  return schemas[kind as Kind];
}

function wrongKind(object: DraftObject): FieldProblem {
  const kinds = Object.keys(schemas).join(", ");
  if (object.apiVersion !== apiVersion) {
    const message = `${JSON.stringify(object.apiVersion)} is not served`;
    return { path: "apiVersion", message, mend: `Write ${apiVersion}.` };
  }
  const message = `${apiVersion} has no kind ${JSON.stringify(object.kind)}`;
  return { path: "kind", message, mend: `Its kinds are ${kinds}.` };
}

/** Drops the fields that nobody knows, and names them; metadata has a check of its own. */
function checkFields(draft: DraftObject, schema: StructuralSchema): FieldProblem[] {
  const { properties = {} } = schema;
  return Object.keys(draft).flatMap((key) => {
    const field = properties[key];
    if (!topLevelFields.includes(key) || field === undefined) {
      delete draft[key];
      return [unknownField(key, key, topLevelFields)];
    }
    const value = draft[key];
    if (value === null) delete draft[key];
    return key === "metadata" || value === undefined ? [] : prune(value, field, key);
  });
}

/** Only /status writes the status: a create drops it, and an update keeps the old one. */
function completeStatus(draft: DraftObject, old: unknown): void {
  delete draft.status;
  if (isDraftObject(old) && old.status !== undefined) draft.status = structuredClone(old.status);
}

function check(draft: DraftObject, old: unknown, schema: StructuralSchema): FieldProblem[] {
  const metadata = checkMetadata(draft.metadata);
  const checked = { ...draft, metadata: namedMetadata(draft.metadata) };
  const shape = checkShape(checked, schema, "");
  const problems = [...metadata, ...shape.map(({ path, message }) => ({ path, message }))];
  if (shape.some(({ blocking }) => blocking) || typeof checked.metadata.name !== "string") return problems;
  return [...problems, ...checkRules(checked, isDraftObject(old) ? old : undefined, ruleSchema(schema), "")];
}

/** The name that the rules see: the given one, or one like the server would make up. */
function namedMetadata(metadata: Draft | undefined): DraftObject {
  if (!isDraftObject(metadata)) return {};
  const { name, generateName } = metadata;
  if (typeof name === "string" && name !== "") return { name };
  return typeof generateName === "string" ? { name: `${generateName.slice(0, maxGeneratedStemLength)}xxxxx` } : {};
}

/** The server types metadata.name by itself; no CRD may say so. */
function ruleSchema(schema: StructuralSchema): StructuralSchema {
  const metadata: StructuralSchema = { type: "object", properties: { name: { type: "string" } } };
  return { ...schema, properties: { ...schema.properties, metadata } };
}
