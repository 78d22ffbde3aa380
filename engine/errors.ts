/** Who has to act on an error: who wrote the objects, who wrote the processor, or who runs Millrace. */
export type ErrorKind = "User" | "Processor" | "System";

interface ErrorClass {
  readonly kind: ErrorKind;
  /** Whether another attempt is worth it when a Processor says nothing else; "Declared": the processor itself says. */
  readonly retried: boolean | "Declared";
}

/** The closed set of error codes, the same for every backend. Each has its row in `ERRORS.md`. */
export const errorClasses = {
  InvalidInput: { kind: "User", retried: false },
  NotFound: { kind: "User", retried: false },
  PayloadTooLarge: { kind: "User", retried: false },
  Unavailable: { kind: "System", retried: true },
  DeadlineExceeded: { kind: "Processor", retried: false },
  ResourceExhausted: { kind: "System", retried: true },
  SandboxViolation: { kind: "Processor", retried: false },
  ProcessorFailed: { kind: "Processor", retried: "Declared" },
  ProcessorCrashed: { kind: "Processor", retried: true },
  PayloadLost: { kind: "System", retried: false },
  Interrupted: { kind: "System", retried: false },
  Cancelled: { kind: "User", retried: false },
  Internal: { kind: "System", retried: false },
} as const satisfies Record<string, ErrorClass>;

export type ErrorCode = keyof typeof errorClasses;

export const errorCodes = Object.keys(errorClasses) as readonly ErrorCode[];

export interface MillraceErrorOptions {
  readonly cause?: unknown;
  /** How long whoever failed asked us to wait before another attempt, in milliseconds. */
  readonly retryAfterMs?: number;
}

/**
 * Broken infrastructure, a refused input or a limit: everything that is not a processor's own declared failure.
 * Thrown, never returned. Errno, gRPC statuses, traps and the like are translated into one of these once, at the edge.
 */
export class MillraceError extends Error {
  override readonly name = "MillraceError";
  readonly code: ErrorCode;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options: MillraceErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
  }

  get kind(): ErrorKind {
    return errorClasses[this.code].kind;
  }
}

/** What was thrown, as one of the closed set: anything that is not a {@link MillraceError} is a defect of ours. */
export function toMillraceError(thrown: unknown): MillraceError {
  if (thrown instanceof MillraceError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new MillraceError("Internal", message, { cause: thrown });
}
