import type { ErrorCode, ErrorKind } from "./errors.ts";
import type { Metadata } from "./metadata.ts";
import type { Payload } from "./payload.ts";

export type StepState = "Waiting" | "Running" | "Retrying" | "Succeeded" | "Failed" | "Skipped" | "Cancelled";

/** Why a step was skipped or cancelled; a documented closed set. */
export type StepReason =
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

/** A step that has ended, as it is recorded and as a resumed run takes it back. */
export type StepResult =
  | {
      readonly state: "Succeeded";
      /** The step's own output; of an Analyze step the payload that passed through it. */
      readonly output: Payload;
      readonly metadata: Metadata;
      readonly attempts: number;
    }
  | { readonly state: "Failed"; readonly error: StepError; readonly attempts: number }
  | { readonly state: "Skipped"; readonly reason: StepReason }
  | { readonly state: "Cancelled"; readonly reason: StepReason; readonly attempts: number };

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
  | { readonly type: "StepFinished"; readonly step: number; readonly result: StepResult };

export interface Outcome {
  readonly state: "Succeeded" | "Failed" | "Cancelled";
  /** By the plan's step index. */
  readonly steps: readonly StepResult[];
  /** Set exactly when the run succeeded. */
  readonly output?: Payload;
  /** Set exactly when it did not. */
  readonly error?: RunError;
}

/** The first failure that decided the run; `step` is absent when it was no step's (the output expression, the Pipeline's timeout). */
export interface RunError extends StepError {
  readonly step?: string;
}
