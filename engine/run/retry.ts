import type { Random } from "../clock.ts";
import type { ErrorCode } from "../errors.ts";
import type { RetryPolicy } from "../pipeline.ts";

/** The longest wait that a processor can ask for by Retry-After, in milliseconds. */
export const maxRetryAfterMs = 60_000;

/** An attempt that failed, as far as it matters for another one. */
export interface FailedAttempt {
  /** From 1. */
  readonly attempt: number;
  readonly code: ErrorCode;
  /** Set for a failure that the processor itself declared: it says whether another attempt is worth it. */
  readonly retryable: boolean | undefined;
  readonly retryAfterMs: number | undefined;
}

/** How long to wait before the next attempt, in milliseconds; undefined: there is none. */
export function retryDelayMs(policy: RetryPolicy, failed: FailedAttempt, random: Random): number | undefined {
  if (failed.attempt > policy.limit) return undefined;
  if (!(failed.retryable ?? policy.codes.includes(failed.code))) return undefined;
  const backoffMs = jittered(policy, Math.min(exponentialMs(policy, failed.attempt), policy.backoff.maxMs), random);
  return Math.max(backoffMs, Math.min(failed.retryAfterMs ?? 0, maxRetryAfterMs));
}

function exponentialMs({ backoff }: RetryPolicy, attempt: number): number {
  return backoff.initialMs * backoff.factor ** (attempt - 1);
}

function jittered({ backoff }: RetryPolicy, delayMs: number, random: Random): number {
  const spread = (random() * 2 - 1) * (backoff.jitterPercent / 100);
  return Math.max(0, delayMs * (1 + spread));
}
