import type { Clock } from "../../../engine/clock.ts";
import type { ProcessorSpec } from "../../backend.ts";
import { type Smoke, smokeTest } from "../calls/smoke.ts";
import { Refusals } from "./refusals.ts";

/** Longer than the wait for the next try of what is refused, as a try may take a thread for 5 s. */
const refusalMs = 300_000;

/** Smoke tests; one that has failed fails for five minutes without being made. */
export class SmokeTests {
  readonly #refusals: Refusals;

  constructor(clock: Clock) {
    this.#refusals = new Refusals(clock, refusalMs);
  }

  /**
   * @param moduleId tells the module, and what admission put into it, from others
   * @throws what {@link smokeTest} throws
   */
  async pass(moduleId: string, smoke: Smoke, spec: ProcessorSpec, signal: AbortSignal): Promise<void> {
    const key = keyOf(moduleId, smoke, spec);
    const refusal = this.#refusals.get(key);
    if (refusal !== undefined) throw refusal;
    try {
      await smokeTest(smoke, spec, signal);
    } catch (error) {
      this.#refusals.keep(key, error);
      throw error;
    }
  }
}

/** All that the instance can see, and that it is held to. */
function keyOf(moduleId: string, { target, capabilities }: Smoke, { namespace, name, limits }: ProcessorSpec): string {
  return JSON.stringify([moduleId, namespace, name, target.limits, capabilities, limits.maxOutputBytes]);
}
