import type { Implementation } from "../../backends/backend.ts";
import type { Random } from "../../engine/clock.ts";
import { isFetched, type Refusal } from "./refusal.ts";
import type { Candidate, Holding } from "./versions.ts";

/** What is to be done with a Processor that exists. */
export type Decision =
  /** The candidate is what serves. */
  | { readonly action: "Keep" }
  /** The candidate was refused, and nothing has changed since. */
  | { readonly action: "Wait"; readonly retryAfterMs?: number }
  | { readonly action: "Load"; readonly reason: "FirstVersion" | "NewVersion" | "TriedAgain" };

/** `nowMs` on the monotonic clock. */
export function decide(candidate: Candidate, holding: Holding, nowMs: number): Decision {
  const { serving, refused } = holding;
  if (serving?.candidate.fingerprint === candidate.fingerprint) return { action: "Keep" };
  if (refused?.fingerprint === candidate.fingerprint) {
    if (refused.retryAtMs === undefined) return { action: "Wait" };
    if (nowMs < refused.retryAtMs) return { action: "Wait", retryAfterMs: refused.retryAtMs - nowMs };
    return { action: "Load", reason: "TriedAgain" };
  }
  return { action: "Load", reason: serving === undefined ? "FirstVersion" : "NewVersion" };
}

const firstRetryMs = 1_000;
const lastRetryMs = 60_000;

/** The longest that somebody who asks to be left alone is. */
const lastRetryAfterMs = 600_000;

/** Nothing tells when something beside a file, or in the plugins directory, has changed. */
const fileRetryMs = 30_000;

/** Nor when something is pushed, signed, or may be read by now. */
const fetchedRetryMs = 60_000;

/** When a refused candidate is worth another try by itself, in milliseconds from now; undefined: never. */
export function retryAfterMs(
  refusal: Refusal,
  implementation: Implementation | undefined,
  failures: number,
  random: Random,
): number | undefined {
  if (refusal.duration === "Transient") return transientRetryMs(refusal, failures, random);
  if (implementation === undefined) return undefined;
  if (isFetched(implementation)) return jittered(fetchedRetryMs, random);
  return isFile(implementation) ? jittered(fileRetryMs, random) : undefined;
}

/** While a module's file is not there it is looked for as often as it is looked at when it is. */
const fileAgainMs = 5_000;

/** When a source that could not tell what it names is worth another question, in milliseconds from now; undefined: never. */
export function resolveAgainMs(
  refusal: Refusal,
  implementation: Implementation,
  failures: number,
  random: Random,
): number | undefined {
  if (refusal.duration === "Permanent" && isFile(implementation)) return jittered(fileAgainMs, random);
  return retryAfterMs(refusal, implementation, failures, random);
}

/** When to ask a source again that wants to be asked so often, in milliseconds from now. */
export function checkAfterMs(checkAgainMs: number, random: Random): number {
  return jittered(checkAgainMs, random);
}

function transientRetryMs({ retryAfterMs: wantedMs = 0 }: Refusal, failures: number, random: Random): number {
  const ownMs = jittered(Math.min(lastRetryMs, firstRetryMs * 2 ** Math.min(failures, 10)), random);
  return Math.max(ownMs, Math.min(wantedMs, lastRetryAfterMs));
}

function isFile(implementation: Implementation): boolean {
  return implementation.kind === "Module" || (implementation.kind === "WASM" && implementation.source.kind === "File");
}

/** While an endpoint cannot be used it is asked often, else rarely. */
const probeAgainMs = { unreachable: 5_000, reachable: 60_000 } as const;

/** When to ask an endpoint again, in milliseconds from now. */
export function probeAfterMs(unreachable: Refusal | undefined, random: Random): number {
  return jittered(unreachable === undefined ? probeAgainMs.reachable : probeAgainMs.unreachable, random);
}

/** 20 percent either way, so that a hundred Processors do not come at once. */
function jittered(delayMs: number, random: Random): number {
  return delayMs * (0.8 + 0.4 * random());
}
