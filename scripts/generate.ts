// `npm run generate`: writes what is made from crds/, the API's one source: controller/api/types.ts and schemas.ts.
// `node scripts/generate.ts --check` writes nothing and fails when a file in the tree is stale.
import { spawnSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import { compile, type JSONSchema } from "json-schema-to-typescript";
import { parse } from "yaml";

/** The part of a CRD's schema that says something about a type. */
interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly enum?: readonly string[];
  readonly default?: unknown;
  readonly "x-kubernetes-int-or-string"?: boolean;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
}

interface CustomResourceDefinition {
  readonly spec: {
    readonly group: string;
    readonly names: { readonly kind: string };
    readonly versions: readonly { readonly name: string; readonly schema: { readonly openAPIV3Schema: Schema } }[];
  };
}

const root = new URL("../", import.meta.url);
const sources = ["processor", "pipeline", "execution"];

/** The exported name of each object that has one, by its path. Two paths of one name must have one shape. */
const typeNames: Readonly<Record<string, string>> = {
  "Processor.spec": "ProcessorSpec",
  "Processor.spec.local": "LocalSpec",
  "Processor.spec.local.module": "ModuleSpec",
  "Processor.spec.rpc": "RpcSpec",
  "Processor.spec.rpc.http": "HttpSpec",
  "Processor.spec.wasm": "WasmSpec",
  "Processor.spec.wasm.source": "WasmSource",
  "Processor.spec.wasm.source.configMapKeyRef": "ConfigMapKeyRef",
  "Processor.spec.wasm.pullSecretRef": "PullSecretRef",
  "Processor.spec.wasm.verify": "WasmVerification",
  "Processor.spec.wasm.verify.publicKeySecretRef": "PublicKeySecretRef",
  "Processor.spec.wasm.limits": "WasmLimits",
  "Processor.spec.wasm.capabilities": "WasmCapabilities",
  "Processor.spec.wasm.capabilities.env[]": "WasmEnvVar",
  "Processor.spec.wasm.capabilities.env[].valueFrom": "WasmEnvSource",
  "Processor.spec.wasm.capabilities.env[].valueFrom.secretKeyRef": "SecretKeyRef",
  "Processor.spec.wasm.capabilities.config[]": "WasmConfigEntry",
  "Processor.spec.secrets[]": "SecretRef",
  "Processor.spec.secrets[].secretKeyRef": "SecretKeyRef",
  "Processor.spec.retry": "RetrySpec",
  "Processor.spec.retry.backoff": "BackoffSpec",
  "Processor.status": "ProcessorStatus",
  "Processor.status.conditions[]": "Condition",
  "Processor.status.module": "ModuleStatus",
  "Pipeline.spec": "PipelineSpec",
  "Pipeline.spec.parameters[]": "ParameterSpec",
  "Pipeline.spec.input": "InputSpec",
  "Pipeline.spec.steps[]": "StepSpec",
  "Pipeline.spec.steps[].parameters[]": "StepParameter",
  "Pipeline.spec.steps[].cache": "CacheSpec",
  "Pipeline.spec.steps[].retry": "StepRetrySpec",
  "Pipeline.spec.steps[].retry.backoff": "StepBackoffSpec",
  "Pipeline.spec.finally[]": "FinallyStepSpec",
  "Pipeline.spec.finally[].retry": "StepRetrySpec",
  "Pipeline.spec.finally[].retry.backoff": "StepBackoffSpec",
  "Pipeline.spec.outputs[]": "NamedOutput",
  "Pipeline.spec.concurrency": "ConcurrencySpec",
  "Pipeline.spec.historyLimit": "HistoryLimitSpec",
  "Pipeline.status": "PipelineStatus",
  "Pipeline.status.conditions[]": "Condition",
  "Pipeline.status.graph": "GraphStatus",
  "Pipeline.status.executions": "ExecutionCounts",
  "Execution.spec": "ExecutionSpec",
  "Execution.spec.pipelineSpec": "InlinePipelineSpec",
  "Execution.spec.pipelineSpec.parameters[]": "ParameterSpec",
  "Execution.spec.pipelineSpec.input": "InputSpec",
  "Execution.spec.pipelineSpec.steps[]": "StepSpec",
  "Execution.spec.pipelineSpec.steps[].parameters[]": "StepParameter",
  "Execution.spec.pipelineSpec.steps[].cache": "CacheSpec",
  "Execution.spec.pipelineSpec.steps[].retry": "StepRetrySpec",
  "Execution.spec.pipelineSpec.steps[].retry.backoff": "StepBackoffSpec",
  "Execution.spec.pipelineSpec.finally[]": "FinallyStepSpec",
  "Execution.spec.pipelineSpec.finally[].retry": "StepRetrySpec",
  "Execution.spec.pipelineSpec.finally[].retry.backoff": "StepBackoffSpec",
  "Execution.spec.pipelineSpec.outputs[]": "NamedOutput",
  "Execution.spec.parameters[]": "ParameterValue",
  "Execution.spec.input": "ExecutionInput",
  "Execution.spec.input.configMapKeyRef": "ConfigMapKeyRef",
  "Execution.spec.input.payload": "PayloadInput",
  "Execution.spec.retryFrom": "RetryFromSpec",
  "Execution.status": "ExecutionStatus",
  "Execution.status.conditions[]": "Condition",
  "Execution.status.owner": "ExecutionOwner",
  "Execution.status.active": "ActiveTime",
  "Execution.status.steps[]": "StepRow",
  "Execution.status.steps[].output": "PayloadRow",
  "Execution.status.steps[].output.payload": "PayloadRef",
  "Execution.status.steps[].metadataPayload": "PayloadRef",
  "Execution.status.steps[].error": "StepRowError",
  "Execution.status.steps[].error.full": "PayloadRef",
  "Execution.status.steps[].items": "FanOutRow",
  "Execution.status.steps[].items.results": "PayloadRef",
  "Execution.status.steps[].items.failures[]": "ItemFailure",
  "Execution.status.steps[].log": "PayloadRef",
  "Execution.status.steps[].processor": "StepRowProcessor",
  "Execution.status.output": "PayloadRow",
  "Execution.status.output.payload": "PayloadRef",
  "Execution.status.outputs[]": "NamedOutputRow",
  "Execution.status.outputs[].value": "PayloadRow",
  "Execution.status.outputs[].value.payload": "PayloadRef",
};

type Definitions = Record<string, JSONSchema>;

/** A JSON Schema of the type at `path`; objects that have a name go into `definitions`. */
function schemaOf(schema: Schema, path: string, definitions: Definitions): JSONSchema {
  const described = schema.description === undefined ? {} : { description: schema.description };
  if (schema["x-kubernetes-int-or-string"] === true) return { ...described, tsType: "number | string" };
  if (schema.type === undefined) return { ...described, tsType: "Json" };
  if (schema.type === "array") {
    if (schema.items === undefined) throw new Error(`${path}: a list without items`);
    return { ...described, type: "array", items: schemaOf(schema.items, `${path}[]`, definitions) };
  }
  if (schema.type !== "object") return { ...described, ...scalar(schema) };
  if (schema.additionalProperties !== undefined) {
    const values = schema.additionalProperties.type === undefined ? "Json" : schema.additionalProperties.type;
    return { ...described, tsType: `Readonly<Record<string, ${values}>>` };
  }
  return named(objectOf(schema, path, definitions), path, definitions);
}

function scalar(schema: Schema): JSONSchema {
  if (schema.enum !== undefined) return { enum: [...schema.enum] };
  return { type: schema.type as "string" | "integer" | "number" | "boolean" };
}

/** A field with a default is always there in what the server gives, so that its type is not optional. */
function objectOf(schema: Schema, path: string, definitions: Definitions): JSONSchema {
  const entries = Object.entries(schema.properties ?? {});
  const defaulted = entries.filter(([name, field]) => field.default !== undefined && name !== "status");
  const properties = entries.map(([name, field]) => [name, schemaOf(field, `${path}.${name}`, definitions)]);
  return {
    ...(schema.description === undefined ? {} : { description: schema.description }),
    type: "object",
    additionalProperties: false,
    properties: Object.fromEntries(properties),
    required: [...(schema.required ?? []), ...defaulted.map(([name]) => name)],
  };
}

function named(schema: JSONSchema, path: string, definitions: Definitions): JSONSchema {
  const name = typeNames[path];
  if (name === undefined) throw new Error(`${path}: an object without a name; add it to typeNames`);
  const known = definitions[name];
  if (known !== undefined && !isDeepStrictEqual(shapeOf(known), shapeOf(schema))) {
    throw new Error(`${path}: not the same shape as the other ${name}`);
  }
  definitions[name] ??= schema;
  return { $ref: `#/definitions/${name}` };
}

function shapeOf(schema: unknown): unknown {
  return JSON.parse(JSON.stringify(schema, (key, value: unknown) => (key === "description" ? undefined : value)));
}

async function readDefinition(name: string): Promise<CustomResourceDefinition> {
  return parse(await readFile(new URL(`crds/${name}.yaml`, root), "utf8")) as CustomResourceDefinition;
}

function addKind({ spec }: CustomResourceDefinition, definitions: Definitions): string {
  const { kind } = spec.names;
  const [version] = spec.versions;
  if (version === undefined) throw new Error(`${kind}: no version`);
  const { properties = {}, ...schema } = version.schema.openAPIV3Schema;
  const { spec: specSchema, status } = properties;
  if (specSchema === undefined || status === undefined) throw new Error(`${kind}: no spec or no status`);
  const object = objectOf({ ...schema, properties: { spec: specSchema, status } }, kind, definitions);
  definitions[kind] = {
    ...object,
    properties: {
      apiVersion: { enum: [`${spec.group}/${version.name}`] },
      kind: { enum: [kind] },
      metadata: { tsType: "ObjectMeta" },
      ...object.properties,
    },
    required: ["apiVersion", "kind", "metadata", "spec"],
  };
  return kind;
}

const banner = `// Made from crds/ by \`npm run generate\`; not to be edited. The objects as the API server gives them, defaults filled in.
import type { Json } from "../../engine/payload.ts";
import type { KubernetesObject, ObjectMeta } from "./client.ts";`;

async function generateTypes(crds: readonly CustomResourceDefinition[]): Promise<string> {
  const definitions: Definitions = {};
  const kinds = crds.map((crd) => addKind(crd, definitions));
  const text = await compile({ definitions } as JSONSchema, "Api", {
    additionalProperties: false,
    bannerComment: banner,
    ignoreMinAndMaxItems: true,
    unreachableDefinitions: true,
    style: { printWidth: 120 },
  });
  return kinds.reduce(asKubernetesObject, readOnly(withoutNotes(text)));
}

/** The schemas for offline validation, without what is for people. */
function generateSchemas(crds: readonly CustomResourceDefinition[]): string {
  const schemas = crds.map(({ spec }) => [spec.names.kind, spec.versions[0]?.schema.openAPIV3Schema]);
  const isText = (key: string, value: unknown) => key === "description" && typeof value === "string";
  const json = JSON.stringify(Object.fromEntries(schemas), (key, value) => (isText(key, value) ? undefined : value));
  return formatted(`// Made from crds/ by \`npm run generate\`; not to be edited. What offline validation goes by.
import type { Kind, StructuralSchema } from "./structural-schema.ts";

export const schemas: Readonly<Record<Kind, StructuralSchema>> = ${json};
`);
}

function formatted(source: string): string {
  const biome = new URL("node_modules/.bin/biome", root).pathname;
  const result = spawnSync(biome, ["format", "--stdin-file-path=generated.ts"], { input: source, encoding: "utf8" });
  if (result.status !== 0) throw new Error(`biome cannot format what was generated: ${result.stderr}`);
  return result.stdout;
}

/** The compiler's notes on where a definition came from, and its empty root, say nothing to a reader. */
function withoutNotes(text: string): string {
  const note =
    / \*(?:\n \*)? This interface was referenced by `Api`'s JSON-Schema\n \* via the `definition` "\w+"\.\n/g;
  return text
    .replace(note, "")
    .replaceAll("/**\n */\n", "")
    .replace(/export interface Api \{\n.*\n\}\n/, "");
}

/** Objects from the API are shared by caches: nobody may write to them. */
function readOnly(text: string): string {
  return text
    .replace(/^( +)(\w+\??:)(?= |$)/gm, "$1readonly $2")
    .replace(/: (\w+\[\];)$/gm, ": readonly $1")
    .replace(/: (\((?:\n +\| "\w+")+\n +\)\[\];)$/gm, ": readonly $1");
}

function asKubernetesObject(text: string, kind: string): string {
  return text.replace(`export interface ${kind} {`, `export interface ${kind} extends KubernetesObject {`);
}

const crds = await Promise.all(sources.map(readDefinition));
const generated = { "types.ts": await generateTypes(crds), "schemas.ts": generateSchemas(crds) };
for (const [name, text] of Object.entries(generated)) {
  const target = new URL(`controller/api/${name}`, root);
  if (!process.argv.includes("--check")) {
    await writeFile(target, text);
  } else if ((await readFile(target, "utf8").catch(() => "")) !== text) {
    console.error(`controller/api/${name} is not what crds/ says: run \`npm run generate\` and commit the file`);
    process.exitCode = 1;
  }
}
