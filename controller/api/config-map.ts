import { checkMetadata } from "./object-metadata.ts";
import { unknownField } from "./pruning.ts";
import { type Draft, type DraftObject, type FieldProblem, isDraftObject } from "./structural-schema.ts";

const fields = ["apiVersion", "kind", "metadata", "data", "binaryData", "immutable"];
const secretFields = ["apiVersion", "kind", "metadata", "type", "data", "stringData", "immutable"];
const keyPattern = /^(?!\.\.)(?!\.$)[-._a-zA-Z0-9]{1,253}$/;
const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const keyMessage = "a key has at most 253 letters, digits, '-', '_' and '.', and neither begins with '..' nor is '.'";
/** Of all that a ConfigMap or Secret holds, decoded; the server's limit. */
const maxBytes = 1024 * 1024;

/** What the API server would refuse of a ConfigMap: unknown fields, keys, values that are no text, a size above 1 MiB. */
export function checkConfigMap(object: DraftObject): FieldProblem[] {
  const unknown = Object.keys(object).filter((key) => !fields.includes(key));
  if (unknown.length > 0) return unknown.map((key) => unknownField(key, key, fields));
  return [
    ...checkMetadata(object.metadata),
    ...checkEntries(object.data, "data", "utf8"),
    ...checkEntries(object.binaryData, "binaryData", "base64"),
    ...checkTwice(object),
    ...checkSize("ConfigMap", sizeOf(object.data, "utf8") + sizeOf(object.binaryData, "base64")),
  ];
}

/** The same of a Secret. No message has a value. */
export function checkSecret(object: DraftObject): FieldProblem[] {
  const unknown = Object.keys(object).filter((key) => !secretFields.includes(key));
  if (unknown.length > 0) return unknown.map((key) => unknownField(key, key, secretFields));
  return [
    ...checkMetadata(object.metadata),
    ...checkEntries(object.data, "data", "base64"),
    ...checkEntries(object.stringData, "stringData", "utf8"),
    ...checkSize("Secret", sizeOf(object.data, "base64") + sizeOf(object.stringData, "utf8")),
  ];
}

type Encoding = "utf8" | "base64";

function checkSize(kind: string, bytes: number): FieldProblem[] {
  if (bytes <= maxBytes) return [];
  return [{ path: "data", message: `has ${bytes} bytes, and a ${kind} may have ${maxBytes}` }];
}

function checkEntries(map: Draft | undefined, field: string, encoding: Encoding): FieldProblem[] {
  if (map === undefined || map === null) return [];
  if (!isDraftObject(map)) return [{ path: field, message: "must be of type object" }];
  return Object.entries(map).flatMap(([key, value]) => {
    const path = `${field}.${key}`;
    if (!keyPattern.test(key)) return { path, message: keyMessage };
    if (typeof value !== "string") return { path, message: "must be of type string", mend: "Put it in quotes." };
    if (encoding === "utf8" || base64Pattern.test(value.replace(/[\r\n]/g, ""))) return [];
    return { path, message: "must be Base64 with padding, in the standard alphabet" };
  });
}

function checkTwice({ data, binaryData }: DraftObject): FieldProblem[] {
  if (!isDraftObject(data) || !isDraftObject(binaryData)) return [];
  const twice = Object.keys(binaryData).filter((key) => Object.hasOwn(data, key));
  return twice.map((key) => ({ path: `binaryData.${key}`, message: "is a key of data too" }));
}

function sizeOf(map: Draft | undefined, encoding: Encoding): number {
  if (!isDraftObject(map)) return 0;
  return Object.values(map).reduce<number>((sum, value) => {
    return sum + (typeof value === "string" ? Buffer.byteLength(value, encoding) : 0);
  }, 0);
}
