import { LRUCache } from "lru-cache";
import type { Clock } from "../../../engine/clock.ts";
import { type ErrorCode, MillraceError } from "../../../engine/errors.ts";

interface Refusal {
  readonly error: MillraceError;
  readonly untilMs: number;
}

/** Of how many modules a refusal is known. */
const maxRefusals = 1_000;

/** What the module itself is refused for, so that another try gives the same. */
const lastingCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["InvalidInput", "SandboxViolation", "NotFound"]);

/** What modules were refused for, by all that it hangs on, for some time: nobody looks again meanwhile. */
export class Refusals {
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #lifeMs: number;
  readonly #known = new LRUCache<string, Refusal>({ max: maxRefusals });

  constructor(clock: Pick<Clock, "monotonic">, lifeMs: number) {
    this.#clock = clock;
    this.#lifeMs = lifeMs;
  }

  get size(): number {
    return this.#known.size;
  }

  get(key: string): MillraceError | undefined {
    const known = this.#known.get(key);
    if (known === undefined) return undefined;
    if (this.#clock.monotonic() < known.untilMs) return known.error;
    this.#known.delete(key);
    return undefined;
  }

  /** Keeps what was thrown, if another try would give the same. Whether it would. */
  keep(key: string, thrown: unknown): boolean {
    if (!(thrown instanceof MillraceError) || !lastingCodes.has(thrown.code)) return false;
    this.#known.set(key, { error: thrown, untilMs: this.#clock.monotonic() + this.#lifeMs });
    return true;
  }

  clear(): void {
    this.#known.clear();
  }
}
