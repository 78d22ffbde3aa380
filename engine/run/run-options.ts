import type { Ports } from "../clock.ts";
import type { Metadata } from "../metadata.ts";
import type { ItemResult, Outcome, RunEvent, StepResult } from "../outcome.ts";
import type { JsonObject, Payload } from "../payload.ts";
import type { ExecutionIdentity, ProcessorRequest, ProcessorResponse } from "../processor.ts";
import type { RetryBudgets } from "./retry-budget.ts";

/** A step's work, or an item's: what all of its attempts have in common. */
export interface Work {
  /** Index into the plan's steps. */
  readonly step: number;
  readonly stepName: string;
  /** Which item of a fan-out, from 0. */
  readonly item?: number;
  readonly processor: string;
  /** `<execution uid>/<step>[/<item>]`. */
  readonly idempotencyKey: string;
  readonly execution: ExecutionIdentity;
}

/** One attempt, to be made by a backend. */
export interface Attempt extends Work {
  /** From 1. */
  readonly attempt: number;
  /** The shorter of the step's timeout and what is left of the run's, in milliseconds. */
  readonly timeoutMs: number;
  /** Takes what the processor logs in this attempt; the run's owner sets it before it calls a backend. Absent: nobody listens. */
  readonly log?: (text: string) => void;
  /** Takes the fuel that the attempt took, from a backend that meters it, whatever came of it; before it is answered. Absent: nobody asks. */
  readonly reportFuel?: (units: number) => void;
}

/** Makes one attempt: deadline, limits and error translation are its work, retries are not. Throws only MillraceError. */
export type Invoke = (attempt: Attempt, request: ProcessorRequest, signal: AbortSignal) => Promise<ProcessorResponse>;

/** A result that makes an attempt unnecessary. */
export interface KnownResult {
  readonly reason: "Cached" | "Reused";
  /** Of an Analyze step not looked at: its payload passes through. */
  readonly output: Payload;
  readonly metadata: Metadata;
}

/** How a step's `cache` wants its result looked up and kept. */
export interface CacheUse {
  readonly maxAgeMs: number;
  /** What `cache.key` gave; absent: the input's digest, with options and metadata. */
  readonly key?: string;
}

/** Results of earlier runs. */
export interface KnownResults {
  /**
   * Asked once before the first attempt of a step or an item. Undefined at once: there is none, and nothing has to be waited
   * for. Must not reject: what cannot be read is not known.
   */
  find(
    work: Work,
    request: ProcessorRequest,
    cache: CacheUse | undefined,
  ): Promise<KnownResult | undefined> | undefined;
  /** A step with a `cache` succeeded by an attempt. Returns at once; must not throw. */
  keep(work: Work, request: ProcessorRequest, cache: CacheUse, output: Payload, metadata: Metadata): void;
}

/** What an earlier part of a run knows of a fan-out that had not ended. */
export interface RecordedItems {
  /** 32 hexadecimal digits; a list that gives another digest now fails the step. */
  readonly digest: string;
  readonly total: number;
  readonly results: ReadonlyMap<number, ItemResult>;
  /** Attempts already started of items that have no result, so that attempts are counted on. */
  readonly attempts: ReadonlyMap<number, number>;
}

/** What earlier parts of a run recorded; by the steps' row names. */
export interface Recorded {
  /** Steps that ended; they are not run again. */
  readonly results: ReadonlyMap<string, StepResult>;
  /** Attempts already started of steps that had not ended. */
  readonly attempts: ReadonlyMap<string, number>;
  readonly items: ReadonlyMap<string, RecordedItems>;
  /** How much of the Pipeline's timeout was used up, in milliseconds. */
  readonly elapsedMs: number;
}

export interface RunOptions {
  readonly execution: ExecutionIdentity;
  readonly input: Payload;
  /** Complete: defaults are filled in by `bindParameters`. */
  readonly parameters: JsonObject;
  readonly invoke: Invoke;
  readonly ports: Ports;
  /** Immediate cancellation, and shutdown: running attempts are aborted, every row ends final, `finally` does not run. */
  readonly signal: AbortSignal;
  /** Absent: the run begins. */
  readonly recorded?: Recorded;
  /** Shared by all runs of a process. Absent: retries are bounded by `retry.limit` alone. */
  readonly retryBudgets?: RetryBudgets;
  /**
   * Awaited before an attempt of a Processor with `delivery: AtMostOnce`: resolves when it is recorded durably that the
   * attempt starts. Absent: such attempts start at once. Rejecting fails the step with what it rejects with.
   */
  readonly beforeAttempt?: (attempt: Attempt) => Promise<void>;
  readonly known?: KnownResults;
  /**
   * Gives what the run is to hold instead of a list of items' outputs, which may be large: the same payload, stored elsewhere.
   * What `invoke` gives is held as it is. Absent: the run holds the list. Rejecting fails the step with what it rejects with.
   */
  readonly keepList?: (list: Payload, signal: AbortSignal) => Promise<Payload>;
  readonly onEvent?: (event: RunEvent) => void;
}

/** A run that goes on. */
export interface RunHandle {
  /** Never rejects: whatever happens, every row ends final, unless the run was suspended. */
  readonly outcome: Promise<Outcome>;
  /**
   * Starts nothing more: attempts in flight go on to their end, waits for a retry do not. When nothing runs any more the
   * outcome is `Suspended`, unless every step has ended by then, those of `finally` too. Idempotent.
   */
  suspend(): void;
  /**
   * Starts nothing more of the graph: attempts in flight go on to their end, what waits is skipped or cancelled; then the steps
   * of `finally` run, and the outcome is `Cancelled`. Idempotent; nothing once the graph has ended.
   */
  cancelGracefully(): void;
}
