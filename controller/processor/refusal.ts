import type { Implementation } from "../../backends/backend.ts";
import { SourceRefusal, type SourceRefusalKind } from "../../backends/source-refusal.ts";
import { MillraceError, toMillraceError } from "../../engine/errors.ts";

/** Why a generation of a Processor cannot serve. */
export interface Refusal {
  /** The conditions' reason: one of the table in `docs/controller.md`. */
  readonly reason: RefusalReason;
  /** At most 1 KiB. */
  readonly message: string;
  /** Transient: another try may do, without anybody's help. Permanent: somebody has to mend the object or its surroundings. */
  readonly duration: "Transient" | "Permanent";
  /** How long at least the other side wants to be left alone, in milliseconds. */
  readonly retryAfterMs?: number;
}

/** Documented in `docs/controller.md`. */
export const refusalReasons = [
  "InvalidSpec",
  "InvalidOptionsSchema",
  "InvalidOutputSchema",
  "InvalidMetadataSchema",
  "SecretNotFound",
  "InvalidSecret",
  "BuiltinNotFound",
  "ModuleNotFound",
  "ModuleUnavailable",
  "ModuleUnauthorized",
  "ModuleNotCached",
  "SignatureRefused",
  "ModuleRefused",
  "ModuleTooLarge",
  "SandboxViolation",
  "InvalidEndpoint",
  "EndpointMismatch",
  "EndpointUnreachable",
  "LoadFailed",
  "InternalError",
] as const;

export type RefusalReason = (typeof refusalReasons)[number];

const sourceReasons = {
  Unauthorized: "ModuleUnauthorized",
  SignatureRefused: "SignatureRefused",
  NotCached: "ModuleNotCached",
} as const satisfies Record<SourceRefusalKind, RefusalReason>;

const maxMessageCharacters = 1_000;

/** What a backend's error means for the Processor. `implementation` is absent when the spec itself could not be read. */
export function refusalOf(error: MillraceError, implementation: Implementation | undefined): Refusal {
  const [reason, duration] = classify(error, implementation);
  const { retryAfterMs } = error;
  const wait = duration === "Permanent" || retryAfterMs === undefined ? {} : { retryAfterMs };
  return { reason, duration, message: bounded(error.message), ...wait };
}

/** What was thrown; where the limit of its time was over, that. @param what "the processor was" */
export function endedBy(limit: AbortSignal, error: unknown, what: string): MillraceError {
  if (!limit.aborted) return toMillraceError(error);
  return new MillraceError("DeadlineExceeded", `${what} ${(limit.reason as Error).message}`, { cause: error });
}

/** Whether the module comes from beyond the cluster, where nothing tells of changes. */
export function isFetched(implementation: Implementation): boolean {
  return implementation.kind === "WASM" && ["OCI", "HTTP"].includes(implementation.source.kind);
}

function classify(
  error: MillraceError,
  implementation: Implementation | undefined,
): readonly [RefusalReason, Refusal["duration"]] {
  if (implementation === undefined) return ["InvalidSpec", "Permanent"];
  if (error instanceof SourceRefusal) return [sourceReasons[error.refusal], "Permanent"];
  switch (error.code) {
    case "NotFound":
      return [implementation.kind === "Builtin" ? "BuiltinNotFound" : "ModuleNotFound", "Permanent"];
    case "InvalidInput":
      return [isEndpoint(implementation) ? "InvalidEndpoint" : "ModuleRefused", "Permanent"];
    case "PayloadTooLarge":
      return ["ModuleTooLarge", "Permanent"];
    case "SandboxViolation":
      return ["SandboxViolation", "Permanent"];
    case "ProcessorFailed":
      return ["ModuleRefused", "Permanent"];
    case "Internal":
      return ["InternalError", "Transient"];
    default:
      return [isFetched(implementation) ? "ModuleUnavailable" : "LoadFailed", "Transient"];
  }
}

/** What a probe's error means: nobody there, or somebody else. */
export function probeRefusalOf(error: MillraceError): Refusal {
  const message = bounded(error.message);
  if (error.code === "InvalidInput") return { reason: "EndpointMismatch", duration: "Permanent", message };
  return { reason: "EndpointUnreachable", duration: "Transient", message };
}

function isEndpoint(implementation: Implementation): boolean {
  return implementation.kind === "GRPC" || implementation.kind === "HTTP";
}

export function bounded(message: string): string {
  return message.length <= maxMessageCharacters ? message : `${message.slice(0, maxMessageCharacters - 1)}…`;
}
