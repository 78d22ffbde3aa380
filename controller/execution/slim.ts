import type { Json } from "../../engine/payload.ts";
import type { KubernetesObject } from "../api/client.ts";
import type { Execution, ExecutionInput } from "../api/types.ts";
import { defined, isFinished } from "./objects.ts";

/** What is kept of an Execution in memory while it is not running here. */
export interface CachedExecution extends Execution {
  /** The input was left out because of its size: read the object again before it is run. */
  readonly inputOmitted?: true;
}

/** An input up to this size stays in memory while its Execution waits: reading the object again costs more. In bytes, roughly. */
const keptInputBytes = 4 * 1024;

/**
 * Leaves out what no decision reads: managedFields, annotations, rows and outputs always; large inputs; of a finished
 * Execution all of the spec but its Pipeline's name and its ttl. The original is not changed, and is garbage afterwards.
 */
export function slim(object: KubernetesObject): CachedExecution {
  const { apiVersion, kind, metadata, spec, status } = object as Execution;
  const finished = isFinished(status);
  const omitted = !finished && spec.input !== undefined && exceeds(spec.input, keptInputBytes);
  return {
    apiVersion,
    kind,
    metadata: slimMetadata(metadata),
    spec: finished ? slimSpec(spec) : omitted ? withoutInput(spec) : spec,
    ...(status === undefined ? {} : { status: slimStatus(status) }),
    ...(omitted ? { inputOmitted: true as const } : {}),
  };
}

function slimMetadata(metadata: Execution["metadata"]): Execution["metadata"] {
  const { name, namespace, uid, resourceVersion, generation, creationTimestamp, deletionTimestamp } = metadata;
  return defined({ name, namespace, uid, resourceVersion, generation, creationTimestamp, deletionTimestamp });
}

function slimSpec(spec: Execution["spec"]): Execution["spec"] {
  const { pipeline, priority, suspend, cancel, ttlSecondsAfterFinished } = spec;
  return defined<Execution["spec"]>({ pipeline, priority, suspend, cancel, ttlSecondsAfterFinished });
}

function withoutInput(spec: Execution["spec"]): Execution["spec"] {
  const { input: _input, ...rest } = spec;
  return rest;
}

function slimStatus(status: NonNullable<Execution["status"]>): NonNullable<Execution["status"]> {
  const { steps: _steps, output: _output, outputs: _outputs, ...rest } = status;
  return rest;
}

function exceeds({ json, text, base64 }: ExecutionInput, limit: number): boolean {
  if (text !== undefined) return text.length > limit;
  if (base64 !== undefined) return base64.length > limit;
  return json !== undefined && measured(json, limit) > limit;
}

/** Roughly the length as JSON; stops counting above `limit`. */
function measured(value: Json, limit: number): number {
  if (typeof value === "string") return value.length + 2;
  if (typeof value !== "object" || value === null) return 8;
  let length = 2;
  for (const [key, member] of Object.entries(value)) {
    length += key.length + 4 + measured(member as Json, limit);
    if (length > limit) return length;
  }
  return length;
}
