import type { Backend, ProcessorSpec } from "../../backends/backend.ts";
import type { Ports } from "../../engine/clock.ts";
import { deadline } from "../runtime/deadline.ts";
import type { ObjectKey } from "../runtime/object-key.ts";
import { checkAfterMs, resolveAgainMs } from "./decide.ts";
import { endedBy, type Refusal, refusalOf } from "./refusal.ts";

/** What is known of what a Processor's source names. */
export interface Resolution {
  /** As it was told last; absent: never, for what the Processor says now. */
  readonly version?: string;
  /** Why it could not be told now. */
  readonly refusal?: Refusal;
  /** When to ask again, on the monotonic clock; absent: only when something else changes. */
  readonly dueAtMs?: number;
}

interface Known extends Resolution {
  readonly base: string;
  readonly failures: number;
}

export interface ResolutionsOptions {
  readonly ports: Ports;
  readonly backends: Pick<Backend, "resolve">;
}

const resolveTimeoutMs = 30_000;

/** Asks backends what sources name now, each as often as it wants to be asked, and remembers the answers. */
export class Resolutions {
  readonly #options: ResolutionsOptions;
  readonly #known = new Map<ObjectKey, Known>();

  constructor(options: ResolutionsOptions) {
    this.#options = options;
  }

  /** @param base tells all that the answer hangs on besides the source itself: with another one it is asked at once */
  async current(key: ObjectKey, base: string, spec: ProcessorSpec, signal: AbortSignal): Promise<Resolution> {
    const { clock } = this.#options.ports;
    const before = this.#known.get(key);
    const same = before?.base === base ? before : undefined;
    if (same !== undefined && (same.dueAtMs === undefined || clock.monotonic() < same.dueAtMs)) return same;
    const now = await this.#ask(base, spec, same, signal);
    this.#known.set(key, now);
    return now;
  }

  /** The Processor is gone. */
  release(key: ObjectKey): void {
    this.#known.delete(key);
  }

  async #ask(base: string, spec: ProcessorSpec, same: Known | undefined, signal: AbortSignal): Promise<Known> {
    const { backends, ports } = this.#options;
    const { scheduler, random } = ports;
    const limit = deadline(resolveTimeoutMs, `not answered within ${resolveTimeoutMs} ms`, scheduler, signal);
    try {
      const before = same?.version === undefined ? undefined : { version: same.version };
      const { version, checkAgainMs } = (await backends.resolve?.(spec, limit.signal, before)) ?? { version: "" };
      const dueMs = checkAgainMs === undefined ? undefined : checkAfterMs(checkAgainMs, random);
      return this.#due({ base, version, failures: 0 }, dueMs);
    } catch (error) {
      signal.throwIfAborted();
      const refusal = refusalOf(endedBy(limit.signal, error, "the module's source has"), spec.implementation);
      const failures = same?.refusal === undefined ? 0 : same.failures + 1;
      const version = same?.version === undefined ? {} : { version: same.version };
      const dueMs = resolveAgainMs(refusal, spec.implementation, failures, random);
      return this.#due({ base, ...version, refusal, failures }, dueMs);
    } finally {
      limit.release();
    }
  }

  #due(known: Known, dueMs: number | undefined): Known {
    return dueMs === undefined ? known : { ...known, dueAtMs: this.#options.ports.clock.monotonic() + dueMs };
  }
}
