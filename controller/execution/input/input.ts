import { bindParameters } from "../../../engine/compile/parameters.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { contentKind } from "../../../engine/expressions/json-values.ts";
import {
  BytesPayload,
  binaryType,
  type Json,
  type JsonObject,
  jsonPayload,
  jsonType,
  type Payload,
  textPayload,
} from "../../../engine/payload.ts";
import { ApiError, type Client } from "../../api/client.ts";
import { configMaps, executions } from "../../api/kinds.ts";
import type { ConfigMapKeyRef, Execution, ExecutionInput } from "../../api/types.ts";
import type { CompiledPipeline, SchemaViolation } from "../../catalog.ts";
import { isNotFound } from "../../runtime/api-errors.ts";
import type { EarlierRun } from "../known/earlier-run.ts";
import type { RunPayloads } from "../recording/payloads.ts";
import { keptInput, type ReadAgain } from "./kept-input.ts";
import { type EarlierSources, readRetryFrom } from "./retry-from.ts";

/** What a run is started with, checked against its Pipeline. */
export interface RunInput {
  readonly input: Payload;
  readonly parameters: JsonObject;
  /** The run of `retryFrom`, whose results are taken over. */
  readonly earlier?: EarlierRun;
}

/** As it was given: whole, in memory. */
export interface GivenInput extends RunInput {
  readonly input: BytesPayload;
}

/** Where what an Execution gives is read. */
export interface InputSources {
  readonly client: Client;
  /** Of the Execution's namespace. */
  readonly payloads: Pick<RunPayloads, "find">;
}

/**
 * Reads and checks what an Execution gives to its Pipeline; with `retryFrom`, what it does not give itself is the earlier
 * run's. A large input is in the payload store afterwards, so that a thousand runs do not keep a thousand ConfigMaps in memory.
 * Throws MillraceError InvalidInput, NotFound, PayloadLost or PayloadTooLarge, which no second attempt mends; what the store
 * throws; ApiError when the API server does not answer.
 */
export async function readInput(
  execution: Execution,
  pipeline: CompiledPipeline,
  sources: InputSources & EarlierSources & { readonly payloads: RunPayloads },
  signal: AbortSignal,
): Promise<RunInput> {
  const { given, inputOf, earlier } = await readRetryFrom(execution, pipeline, sources, signal);
  const payload = await givenPayload(inputOf, sources, signal);
  const parameters = checkedParameters(pipeline, given);
  checkSize(payload, pipeline);
  if (pipeline.checkInput !== undefined) checkInput(payload.contentType, await payload.bytes(signal), pipeline);
  const again = againFrom(inputOf, sources);
  const input = payload instanceof BytesPayload ? await keptInput(payload, sources.payloads, again, signal) : payload;
  return { input, parameters, ...(earlier && { earlier }) };
}

/** Fills in the parameters' defaults and checks all of it against the Pipeline. Throws MillraceError InvalidInput or PayloadTooLarge. */
export function checkedInput(pipeline: CompiledPipeline, given: JsonObject, input: BytesPayload): GivenInput {
  const parameters = checkedParameters(pipeline, given);
  checkSize(input, pipeline);
  checkInput(input.contentType, input.data, pipeline);
  return { input, parameters };
}

/** Holds nothing of the Execution but its name: a run may be long, and its input large. */
function againFrom({ metadata }: Execution, sources: InputSources): ReadAgain {
  const { name, namespace = "", uid } = metadata;
  return async (signal) => {
    const execution = (await sources.client.get(executions, { namespace, name }, signal)) as Execution;
    if (execution.metadata.uid !== uid) throw new MillraceError("NotFound", `Execution "${name}" is another one now`);
    return await givenPayload(execution, sources, signal);
  };
}

function checkedParameters(pipeline: CompiledPipeline, given: JsonObject): JsonObject {
  const parameters = bindParameters(pipeline.plan, given);
  refuse(pipeline.checkParameters(parameters));
  return parameters;
}

function checkSize({ size }: Payload, { maxInputBytes }: CompiledPipeline): void {
  if (size <= maxInputBytes) return;
  const mend = "send less, or raise input.maxSize of the Pipeline";
  throw new MillraceError(
    "PayloadTooLarge",
    `the input has ${size} bytes, and the Pipeline takes ${maxInputBytes}; ${mend}`,
  );
}

function checkInput(contentType: string, bytes: Uint8Array, { checkInput: check }: CompiledPipeline): void {
  if (check === undefined) return;
  const kind = contentKind(contentType);
  if (kind === "Bytes") {
    const mend = "give JSON or text, or remove input.schema from the Pipeline";
    const message = `the Pipeline's input.schema describes JSON or text, and the input is ${contentType}; ${mend}`;
    throw new MillraceError("InvalidInput", message);
  }
  refuse(check(read(bytes, kind)));
}

/** A text is a string to a schema. */
function read(bytes: Uint8Array, kind: "JSON" | "Text"): Json {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return kind === "Text" ? text : JSON.parse(text);
  } catch (cause) {
    const message = `the input says that it is ${kind === "Text" ? "text and is not valid UTF-8" : "JSON and cannot be parsed as such"}; mend it where it comes from`;
    throw new MillraceError("InvalidInput", message, { cause });
  }
}

/** Violations that one message names; a message has 1 KiB. */
const maxNamed = 4;

function refuse(violations: readonly SchemaViolation[]): void {
  if (violations.length === 0) return;
  const named = violations.slice(0, maxNamed).map(({ path, message, mend }) => `${path}: ${message} (${mend})`);
  const more = violations.length > maxNamed ? [`and ${violations.length - maxNamed} more`] : [];
  throw new MillraceError("InvalidInput", [...named, ...more].join("; "));
}

/** What an input in the object itself may take, in bytes: every write of the status costs the API server its size again. */
const maxInputInObjectBytes = 256 * 1024;

/** `spec.input`; JSON null when there is none. Throws MillraceError InvalidInput, NotFound, PayloadLost, PayloadTooLarge; ApiError. */
async function givenPayload(
  { metadata, spec, status }: Execution,
  { client, payloads }: InputSources,
  signal: AbortSignal,
): Promise<Payload> {
  const input: ExecutionInput = spec.input ?? { json: null };
  const { namespace = "" } = metadata;
  if (input.configMapKeyRef !== undefined) return await fromConfigMap(namespace, input.configMapKeyRef, client, signal);
  if (input.payload !== undefined) {
    const stored = await payloads.find(input.payload.ref, input.payload.contentType, signal);
    if (stored !== undefined) return stored;
    throw notStored(namespace, input.payload.ref, status?.owner !== undefined);
  }
  const payload = inObject(input);
  if (payload.size <= maxInputInObjectBytes) return payload;
  const limit = `an input in the object may have ${maxInputInObjectBytes}; put it into the payload store (spec.input.payload) or a ConfigMap`;
  throw new MillraceError("PayloadTooLarge", `spec.input has ${payload.size} bytes, and ${limit}`);
}

function notStored(namespace: string, digest: string, hasBegun: boolean): MillraceError {
  const mend = "put it there (`millrace create --input @FILE` does) and create the Execution anew";
  const message = `spec.input.payload.ref: the payload store has no ${digest} of namespace ${namespace}${hasBegun ? " any more" : ""}; ${mend}`;
  return new MillraceError(hasBegun ? "PayloadLost" : "NotFound", message);
}

function inObject({ text, base64, json }: ExecutionInput): BytesPayload {
  if (text !== undefined) return textPayload(text);
  if (base64 !== undefined) return new BytesPayload(Buffer.from(base64, "base64"), binaryType);
  return jsonPayload(json ?? null);
}

async function fromConfigMap(
  namespace: string,
  { name, key }: ConfigMapKeyRef,
  client: Client,
  signal: AbortSignal,
): Promise<BytesPayload> {
  const { data, binaryData } = await configMap(namespace, name, client, signal);
  const text = data?.[key];
  if (text !== undefined)
    return key.endsWith(".json") ? new BytesPayload(Buffer.from(text), jsonType) : textPayload(text);
  const bytes = binaryData?.[key];
  if (bytes !== undefined) return new BytesPayload(Buffer.from(bytes, "base64"), binaryType);
  const keys = Object.keys({ ...data, ...binaryData }).sort();
  const has = keys.length === 0 ? "it is empty" : `it has ${keys.slice(0, 8).join(", ")}`;
  throw new MillraceError(
    "InvalidInput",
    `spec.input.configMapKeyRef: ConfigMap "${name}" has no key "${key}"; ${has}`,
  );
}

interface ConfigMapContent {
  readonly data?: Readonly<Record<string, string>>;
  readonly binaryData?: Readonly<Record<string, string>>;
}

async function configMap(
  namespace: string,
  name: string,
  client: Client,
  signal: AbortSignal,
): Promise<ConfigMapContent> {
  try {
    return (await client.get(configMaps, { namespace, name }, signal)) as ConfigMapContent;
  } catch (error) {
    if (isNotFound(error)) {
      const mend = "create it before the Execution, then create the Execution anew";
      const message = `spec.input.configMapKeyRef: there is no ConfigMap "${name}" in namespace ${namespace}; ${mend}`;
      throw new MillraceError("InvalidInput", message, { cause: error });
    }
    if (error instanceof ApiError && error.status.code === 403) {
      const message = `spec.input.configMapKeyRef: millrace may not read ConfigMap "${name}" in namespace ${namespace}`;
      throw new MillraceError("InvalidInput", message, { cause: error });
    }
    throw error;
  }
}
