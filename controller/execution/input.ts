import { MillraceError } from "../../engine/errors.ts";
import {
  BytesPayload,
  binaryType,
  type Json,
  type JsonObject,
  jsonPayload,
  jsonType,
  mediaType,
  type Payload,
  textPayload,
} from "../../engine/payload.ts";
import { bindParameters } from "../../engine/plan.ts";
import { ApiError, type Client } from "../api/client.ts";
import { configMaps } from "../api/kinds.ts";
import type { ConfigMapKeyRef, Execution, ExecutionInput } from "../api/types.ts";
import type { CompiledPipeline, SchemaViolation } from "../catalog.ts";
import { isNotFound } from "../runtime/api-errors.ts";

/** What a run is started with, checked against its Pipeline. */
export interface RunInput {
  readonly input: Payload;
  readonly parameters: JsonObject;
}

/** As it was given: whole, in memory. */
export interface GivenInput extends RunInput {
  readonly input: BytesPayload;
}

/**
 * Reads and checks what an Execution gives to its Pipeline. Throws MillraceError InvalidInput, NotFound or
 * PayloadTooLarge, which no second attempt mends; ApiError when the API server does not answer.
 */
export async function readInput(
  execution: Execution,
  pipeline: CompiledPipeline,
  client: Client,
  signal: AbortSignal,
): Promise<GivenInput> {
  const given: [string, Json][] = (execution.spec.parameters ?? []).map(({ name, value }) => [name, value ?? null]);
  const input = await givenPayload(execution, client, signal);
  return checkedInput(pipeline, Object.fromEntries(given), input);
}

/** Fills in the parameters' defaults and checks all of it against the Pipeline. Throws MillraceError InvalidInput or PayloadTooLarge. */
export function checkedInput(pipeline: CompiledPipeline, given: JsonObject, input: BytesPayload): GivenInput {
  const parameters = bindParameters(pipeline.plan, given);
  refuse(pipeline.checkParameters(parameters));
  if (input.size > pipeline.maxInputBytes) {
    const mend = "send less, or raise input.maxSize of the Pipeline";
    const message = `the input has ${input.size} bytes, and the Pipeline takes ${pipeline.maxInputBytes}; ${mend}`;
    throw new MillraceError("PayloadTooLarge", message);
  }
  checkInput(input, pipeline);
  return { input, parameters };
}

function checkInput(input: BytesPayload, { checkInput: check }: CompiledPipeline): void {
  if (check === undefined) return;
  if (mediaType(input.contentType) !== jsonType) {
    const mend = "give spec.input.json, or remove input.schema from the Pipeline";
    const message = `the Pipeline's input.schema describes JSON, and the input is ${input.contentType}; ${mend}`;
    throw new MillraceError("InvalidInput", message);
  }
  refuse(check(parsed(input.data)));
}

function parsed(bytes: Uint8Array): Json {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    const message = "the input says that it is JSON and cannot be parsed as such; mend it where it comes from";
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

/** `spec.input`; JSON null when there is none. Throws MillraceError InvalidInput, PayloadTooLarge; ApiError. */
export async function givenPayload(execution: Execution, client: Client, signal: AbortSignal): Promise<BytesPayload> {
  const input: ExecutionInput = execution.spec.input ?? { json: null };
  if (input.configMapKeyRef !== undefined) {
    return await fromConfigMap(execution.metadata.namespace ?? "", input.configMapKeyRef, client, signal);
  }
  const payload = inObject(input);
  if (payload.size <= maxInputInObjectBytes) return payload;
  const limit = `an input in the object may have ${maxInputInObjectBytes}; put it into a ConfigMap`;
  throw new MillraceError("PayloadTooLarge", `spec.input has ${payload.size} bytes, and ${limit}`);
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
