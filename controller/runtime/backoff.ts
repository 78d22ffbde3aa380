import type { Random } from "../../engine/clock.ts";

export interface BackoffPolicy {
  readonly initialMs: number;
  readonly factor: number;
  readonly maxMs: number;
  /** How much of the delay may be added at random; 0.2 is up to 20 percent. */
  readonly jitter: number;
}

/** The delay before retry number `retry` (from 0). Never shorter than what the server asked for. */
export function backoffMs(policy: BackoffPolicy, retry: number, random: Random, retryAfterMs = 0): number {
  const delayMs = Math.min(policy.maxMs, policy.initialMs * policy.factor ** retry);
  const jittered = delayMs * (1 + policy.jitter * random());
  // Everybody was told the same Retry-After: spread the return, after it.
  return retryAfterMs > 0 ? retryAfterMs + jittered * random() : jittered;
}
