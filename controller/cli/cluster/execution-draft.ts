import {
  type BytesPayload,
  type Json,
  type JsonObject,
  jsonType,
  mediaType,
  textType,
} from "../../../engine/payload.ts";
import { apiVersion } from "../../api/kinds.ts";
import type { ExecutionInput, ParameterValue } from "../../api/types.ts";
import { CliError, exitCodes } from "../context.ts";

/** The most that an Execution's own input may have; in bytes. */
const maxInlineInputBytes = 256 * 1024;

/** What `millrace create` was told of the Execution. */
export interface DraftFlags {
  readonly name?: string;
  readonly generateName?: string;
  readonly priority?: number;
  readonly retryFrom?: string;
  readonly suspend?: true;
}

/** An Execution to be created, and the content that has to be in the payload store first. */
export interface Draft {
  readonly object: JsonObject;
  readonly upload?: BytesPayload;
}

/** Throws CliError. */
export function draftExecution(
  pipeline: string,
  namespace: string,
  flags: DraftFlags,
  parameters: JsonObject,
  given: BytesPayload | undefined,
): Draft {
  const { name, generateName = `${pipeline}-`, priority, retryFrom, suspend } = flags;
  const named = Object.entries(parameters).map(([parameter, value]): ParameterValue => ({ name: parameter, value }));
  const input = given && inputOf(given);
  const spec = {
    pipeline,
    ...(named.length > 0 && { parameters: named }),
    ...(input !== undefined && { input }),
    ...(priority !== undefined && { priority }),
    ...(suspend && { suspend }),
    ...(retryFrom !== undefined && { retryFrom: { execution: retryFrom } }),
  };
  const metadata = { namespace, ...(name === undefined ? { generateName } : { name }) };
  const object = { apiVersion, kind: "Execution", metadata, spec } as unknown as JsonObject;
  return input?.payload === undefined || given === undefined ? { object } : { object, upload: given };
}

/**
 * As the object holds it: `json`, `text` or `base64`, where that is small, and gives the same content and content type again; else by
 * its name in the payload store.
 */
export function inputOf(given: BytesPayload): ExecutionInput {
  const { data, contentType, digest } = given;
  const type = mediaType(contentType);
  const isGeneral = type === contentType.trim().toLowerCase() || contentType === textType;
  if (type === jsonType) {
    const json = jsonOf(data);
    if (json.isExact && data.byteLength <= maxInlineInputBytes) return { json: json.value };
  } else if (data.byteLength <= maxInlineInputBytes && isGeneral) {
    const text = type === "text/plain" ? utf8(data) : undefined;
    if (text !== undefined) return { text };
    if (type === "application/octet-stream") return { base64: Buffer.from(data).toString("base64") };
  }
  return { payload: { ref: digest, contentType } };
}

/** Not exact where an integer would lose digits on its way through a JSON object; all other numbers are doubles anyway. Throws CliError for what is no JSON. */
function jsonOf(data: Uint8Array): { readonly value: Json; readonly isExact: boolean } {
  let isExact = true;
  const look = (_key: string, value: unknown, { source }: { readonly source?: string } = {}) => {
    if (typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(source ?? "")) isExact = false;
    return value;
  };
  try {
    const value: Json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data), look);
    return { value, isExact };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const mend = "give --content-type text/plain if it is not meant to be JSON";
    throw new CliError(`--input: is not JSON (${why}); ${mend}`, exitCodes.usage, { cause });
  }
}

function utf8(data: Uint8Array): string | undefined {
  try {
    // A byte order mark is content too.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    return undefined;
  }
}
