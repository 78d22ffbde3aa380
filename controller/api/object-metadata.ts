import { unknownField } from "./pruning.ts";
import { type Draft, type DraftObject, type FieldProblem, isDraftObject } from "./structural-schema.ts";

const known = [
  "name",
  "generateName",
  "namespace",
  "labels",
  "annotations",
  "ownerReferences",
  "finalizers",
  "uid",
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "selfLink",
  "managedFields",
];
const stringFields = ["name", "generateName", "namespace", "uid", "resourceVersion"];

const subdomain = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const label = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;
const qualifiedName = /^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$/;
const maxSubdomainLength = 253;
const maxLabelLength = 63;
const maxAnnotationsBytes = 256 * 1024;

/** What every Kubernetes object says about itself: the name, labels and annotations, as the server checks them. */
export function checkMetadata(metadata: Draft | undefined): FieldProblem[] {
  if (metadata === undefined || metadata === null) return [nameRequired];
  if (!isDraftObject(metadata)) return [{ path: "metadata", message: "must be of type object" }];
  const unknown = Object.keys(metadata).filter((key) => !known.includes(key));
  if (unknown.length > 0) return unknown.map((key) => unknownField(`metadata.${key}`, key, known));
  const illTyped = stringFields.filter((key) => key in metadata && typeof metadata[key] !== "string");
  if (illTyped.length > 0)
    return illTyped.map((key) => ({ path: `metadata.${key}`, message: "must be of type string" }));
  return [
    ...checkName(metadata),
    ...checkNamespace(metadata.namespace),
    ...checkStringMap(metadata.labels, "metadata.labels", checkLabelValue),
    ...checkStringMap(metadata.annotations, "metadata.annotations", () => undefined),
    ...checkAnnotationsSize(metadata.annotations),
  ];
}

const nameRequired: FieldProblem = {
  path: "metadata.name",
  message: "is required",
  mend: "Give the object a name, or a generateName if it is only ever created.",
};

function checkName({ name, generateName }: DraftObject): FieldProblem[] {
  const mend = "Use lower-case letters, digits, '-' and '.', and begin and end with a letter or digit.";
  if (typeof name === "string" && name !== "") {
    if (name.length <= maxSubdomainLength && subdomain.test(name)) return [];
    return [{ path: "metadata.name", message: `${JSON.stringify(name)} is no DNS subdomain name`, mend }];
  }
  if (typeof generateName !== "string" || generateName === "") return [nameRequired];
  const stem = generateName.replace(/-$/, "a");
  if (stem.length <= maxSubdomainLength && subdomain.test(stem)) return [];
  return [{ path: "metadata.generateName", message: `${JSON.stringify(generateName)} begins no DNS name`, mend }];
}

function checkNamespace(namespace: Draft | undefined): FieldProblem[] {
  if (typeof namespace !== "string" || namespace === "") return [];
  if (namespace.length <= maxLabelLength && label.test(namespace)) return [];
  return [{ path: "metadata.namespace", message: `${JSON.stringify(namespace)} is no DNS label` }];
}

function checkStringMap(
  map: Draft | undefined,
  path: string,
  checkValue: (value: string) => string | undefined,
): FieldProblem[] {
  if (map === undefined || map === null) return [];
  if (!isDraftObject(map)) return [{ path, message: "must be of type object" }];
  return Object.entries(map).flatMap(([key, value]) => {
    if (typeof value !== "string") return { path: `${path}.${key}`, message: "must be of type string" };
    const message = checkKey(path.endsWith("annotations") ? key.toLowerCase() : key) ?? checkValue(value);
    return message === undefined ? [] : { path, message };
  });
}

/** `name` or `dns.subdomain/name`. */
function checkKey(key: string): string | undefined {
  const slash = key.indexOf("/");
  const prefix = slash < 0 ? undefined : key.slice(0, slash);
  const name = key.slice(slash + 1);
  const isPrefixed = prefix === undefined || (prefix.length <= maxSubdomainLength && subdomain.test(prefix));
  if (isPrefixed && name.length <= maxLabelLength && qualifiedName.test(name)) return undefined;
  return `the key ${JSON.stringify(key)} must be a name of at most ${maxLabelLength} letters, digits, '-', '_' and '.', with a DNS subdomain and '/' before it if need be`;
}

function checkLabelValue(value: string): string | undefined {
  if (value === "" || (value.length <= maxLabelLength && qualifiedName.test(value))) return undefined;
  return `the value ${JSON.stringify(value)} must have at most ${maxLabelLength} letters, digits, '-', '_' and '.', and begin and end with a letter or digit`;
}

function checkAnnotationsSize(annotations: Draft | undefined): FieldProblem[] {
  if (!isDraftObject(annotations)) return [];
  const bytes = Object.entries(annotations).reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(typeof value === "string" ? value : ""),
    0,
  );
  if (bytes <= maxAnnotationsBytes) return [];
  return [
    { path: "metadata.annotations", message: `must have at most ${maxAnnotationsBytes} bytes, and has ${bytes}` },
  ];
}
