import type { Clock } from "../engine/clock.ts";
import type { MillraceError } from "../engine/errors.ts";
import type { ExecutionIdentity } from "../engine/processor.ts";
import type { Attempt } from "../engine/run/run-options.ts";
import type { AttemptTime, BackendContext } from "./backend.ts";
import { noSecrets, type Secrets } from "./secrets.ts";
import { StepLog } from "./step-log.ts";

const drop = (): void => undefined;

/** What a processor is told of its call. Signal and log are made when they are first asked for: most built-ins never do. */
export class AttemptContext implements BackendContext {
  readonly execution: ExecutionIdentity;
  readonly step: string;
  readonly item?: number;
  readonly attempt: number;
  readonly idempotencyKey: string;
  readonly timeoutMs: number;
  readonly time: AttemptTime;
  readonly reportFuel?: (units: number) => void;
  /** Set when the attempt starts. */
  ownSecrets: Secrets = noSecrets;
  #takeLine: ((line: string) => void) | undefined;
  readonly #clock: Clock;
  #stepLog: StepLog | undefined;
  #controller: AbortController | undefined;
  #reason: MillraceError | undefined;

  constructor(attempt: Attempt, time: AttemptTime, clock: Clock) {
    this.time = time;
    this.execution = attempt.execution;
    this.step = attempt.stepName;
    if (attempt.item !== undefined) this.item = attempt.item;
    this.attempt = attempt.attempt;
    this.idempotencyKey = attempt.idempotencyKey;
    this.timeoutMs = attempt.timeoutMs;
    if (attempt.reportFuel !== undefined) this.reportFuel = attempt.reportFuel;
    this.#takeLine = attempt.log;
    this.#clock = clock;
  }

  get secrets(): Readonly<Record<string, string>> {
    return this.ownSecrets.values;
  }

  get log(): (text: string, cutBytes?: number) => void {
    if (this.#takeLine === undefined) return drop;
    this.#stepLog ??= new StepLog(this.#takeLine, this.#clock, this.ownSecrets);
    return this.#stepLog.add;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  abort(reason: MillraceError): void {
    this.#reason = reason;
    this.#controller?.abort(reason);
  }

  /** The attempt has been answered: what it logs from now on is dropped. */
  endLog(): void {
    this.#takeLine = undefined;
    this.#stepLog?.end();
  }
}
