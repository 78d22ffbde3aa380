import { type Ports, sleep } from "../../engine/clock.ts";
import type { Logger } from "./logger.ts";

export interface PeriodicOptions {
  readonly ports: Pick<Ports, "scheduler" | "random">;
  readonly logger: Logger;
  /** From the end of one time to the next, give or take a tenth, so that several do not keep step; in milliseconds. */
  readonly intervalMs: number;
  /** What is logged, as a warning, when a time failed; the next one comes all the same. */
  readonly failure: string;
}

/** Does the work again and again, at first after one interval, until `signal` aborts. Never rejects. */
export async function runPeriodically(
  work: (signal: AbortSignal) => Promise<unknown>,
  { ports, logger, intervalMs, failure }: PeriodicOptions,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await sleep(intervalMs * (0.9 + 0.2 * ports.random()), ports.scheduler, signal);
      await work(signal);
    } catch (error) {
      if (!signal.aborted) logger.warn({ err: error }, failure);
    }
  }
}
