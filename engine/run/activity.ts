import type { StepError } from "../outcome.ts";
import type { StopReason } from "./rules.ts";

/** On whose behalf an expression is evaluated. */
export interface Asker {
  /** Nobody cares any more. */
  readonly isOver: boolean;
  failed(error: StepError): void;
}

/** What a step does between its start and its end. */
export interface Activity extends Asker {
  /** Attempts started, those of earlier parts of the run included; of a fan-out the most that an item took. */
  readonly attempts: number;
  /** What its last attempt took so far, where that is metered; of a fan-out its items' together. */
  readonly fuel: number | undefined;
  /** Its `when` lets it. It holds a slot. */
  begin(): void;
  /** It has the slot that it asked for. */
  slotGiven(): void;
  /** It may make no new attempt. Gives whether any is in flight: then it ends by itself, else it is over. */
  drain(): boolean;
  /** It is over: tells what it has to, but not the step's end. */
  stop(reason: StopReason): void;
}
