import type { ErrorCode, ErrorKind } from "./errors.ts";
import type { Metadata } from "./metadata.ts";
import type { Payload } from "./payload.ts";

export type StepState = "Waiting" | "Running" | "Retrying" | "Succeeded" | "Failed" | "Skipped" | "Cancelled";

/** Why a step is as it is, where its state does not say all; a documented closed set. */
export type StepReason = SkipReason | SuccessReason | "Ignored";

/** A success that needed no attempt: a result of the step's `cache`, or of the run named by `retryFrom`. */
export type SuccessReason = "Cached" | "Reused";

/** Why a step was skipped or cancelled. */
export type SkipReason =
  | "WhenFalse"
  | "UpstreamSkipped"
  | "UpstreamFailed"
  | "FailFast"
  | "PipelineTimeout"
  | "Cancelled";

export interface StepError {
  readonly code: ErrorCode;
  readonly kind: ErrorKind;
  readonly message: string;
  /** A declared failure's own code. */
  readonly processorCode?: string;
}

/** What the last attempt of a step or item took, where its backend meters; of a fan-out: its items' together. */
export interface Metered {
  readonly fuel?: number;
}

/** A step that has ended, as it is recorded and as a resumed run takes it back. Of a fan-out: see {@link ItemResult} too. */
export type StepResult =
  | (Metered & {
      readonly state: "Succeeded";
      /** The step's own output; of an Analyze step the payload that passed through it, of a fan-out the list of its items' outputs. */
      readonly output: Payload;
      readonly metadata: Metadata;
      /** 0 where none was needed. */
      readonly attempts: number;
      readonly reason?: SuccessReason;
    })
  /** `Ignored`: by `onFailure`; its dependents run, and its output is JSON null. */
  | (Metered & {
      readonly state: "Failed";
      readonly error: StepError;
      readonly attempts: number;
      readonly reason?: "Ignored";
    })
  | { readonly state: "Skipped"; readonly reason: SkipReason }
  | (Metered & { readonly state: "Cancelled"; readonly reason: SkipReason; readonly attempts: number });

/** An item of a fan-out that has ended. */
export type ItemResult = Exclude<StepResult, { readonly state: "Skipped" }>;

/** What happens in a run, in the order in which it happens. Delivered synchronously; a listener that throws ends the run as Internal. */
export type RunEvent =
  | { readonly type: "StepStarted"; readonly step: number; readonly attempt: number }
  | {
      readonly type: "StepRetrying";
      readonly step: number;
      readonly attempt: number;
      readonly error: StepError;
      readonly delayMs: number;
    }
  /** A fan-out knows its list; before the first of its items. `digest`: 32 hexadecimal digits. */
  | { readonly type: "ItemsListed"; readonly step: number; readonly total: number; readonly digest: string }
  | { readonly type: "ItemStarted"; readonly step: number; readonly item: number; readonly attempt: number }
  | {
      readonly type: "ItemRetrying";
      readonly step: number;
      readonly item: number;
      readonly attempt: number;
      readonly error: StepError;
      readonly delayMs: number;
    }
  | { readonly type: "ItemFinished"; readonly step: number; readonly item: number; readonly result: ItemResult }
  /** Not for Enter steps, which have no row, unless they did not succeed: then their Exit ends the same way. */
  | { readonly type: "StepFinished"; readonly step: number; readonly result: StepResult };

export interface Outcome {
  /** Suspended: {@link RunHandle.suspend} was called and steps are left; to go on, start a run with what was recorded. */
  readonly state: "Succeeded" | "Failed" | "Cancelled" | "Suspended";
  /** By the plan's step index; undefined only where the run was suspended before the step had ended. */
  readonly steps: readonly (StepResult | undefined)[];
  /** Set exactly when the run succeeded. */
  readonly output?: Payload;
  /** Named outputs; set exactly when the run succeeded. */
  readonly outputs?: ReadonlyMap<string, Payload>;
  /** Set exactly when it failed or was cancelled. */
  readonly error?: RunError;
}

/** The first failure that decided the run; `step` is absent when it was no step's (the output expression, the Pipeline's timeout). */
export interface RunError extends StepError {
  readonly step?: string;
}
