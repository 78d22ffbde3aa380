import type { Json, JsonObject } from "../engine/payload.ts";
import type { ProcessorFacts } from "../engine/pipeline.ts";
import type { Plan } from "../engine/plan.ts";
import type { Invoke } from "../engine/run/run-options.ts";
import type { SchemaViolation } from "./api/json-schema-messages.ts";

export type { SchemaViolation } from "./api/json-schema-messages.ts";

import type { InlinePipelineSpec, PipelineSpec } from "./api/types.ts";

/**
 * What the kinds know of each other: loaded Processors, compiled Pipelines, pinned revisions. A kind's folder imports
 * this and never another kind's folder; the composition root fills in the functions. Everything in it is in memory and
 * is built anew after a restart.
 */
export interface Catalog {
  readonly processors: Register<ProcessorEntry>;
  readonly pipelines: Register<PipelineEntry>;
  /** Compiles an Execution's inline `pipelineSpec` against the Pipelines that exist and the Processors that are loaded now. */
  readonly compileInline: (namespace: string, name: string, spec: InlinePipelineSpec) => InlineState;
  readonly revisions: Revisions;
}

/** A Processor that exists, as it can be used now. */
export interface ProcessorEntry {
  /** The loaded version that serves calls; absent until the first one is loaded. A refused newer generation leaves the older one here. */
  readonly serving?: ProcessorVersion;
  /** Why there is no `serving`, in words for a message; absent when there is. */
  readonly waiting?: string;
  /** Goes with `waiting`: `Loading`, or the reason of the Processor's own condition. */
  readonly waitingReason?: string;
}

/** One loaded generation of a Processor. An attempt uses the version that is current at its start, to its end. */
export interface ProcessorVersion {
  /** `metadata.generation` of what was loaded. */
  readonly generation: number;
  /** Digests of the code that a call runs, for the row; empty where there is none to name. */
  readonly digests: readonly string[];
  /** Which part of that code a call runs, and by which settings (an export, an entry point, a module's capabilities): results of another are other results. */
  readonly called: string;
  readonly facts: ProcessorFacts;
  /** One attempt: deadline, limits and error translation included, retries not. */
  readonly invoke: Invoke;
}

/** A Pipeline that exists, as it can be started now. */
export interface PipelineEntry {
  readonly uid: string;
  /** `metadata.generation` that `state` is about. */
  readonly generation: number;
  readonly state: PipelineState;
}

export type PipelineState =
  | { readonly ready: true; readonly pipeline: CompiledPipeline }
  /** `reason` and `message` are the Pipeline's own condition's. */
  | { readonly ready: false; readonly reason: string; readonly message: string };

/** Of an inline spec, and what it depends on: a change of one of these may change the state. */
export type InlineState = PipelineState & { readonly names: NamedObjects };

/** What a Pipeline's steps name, and those of the Pipelines that they name, whether it exists or not. Each once, in order. */
export interface NamedObjects {
  readonly processors: readonly string[];
  readonly pipelines: readonly string[];
}

/** A Pipeline's own spec, or the one in an Execution. */
export type AnyPipelineSpec = PipelineSpec | InlinePipelineSpec;

/** A Pipeline that is checked and compiled: everything that a run of it needs, but the Processors. */
export interface CompiledPipeline {
  readonly plan: Plan;
  /** What it was compiled from: what a revision holds. */
  readonly closure: PipelineClosure;
  /** All Processors that a run of it may call, each once, in order. */
  readonly processors: readonly string[];
  /** Parameters' values against their schemas; `parameters` is complete, as `bindParameters` gives it. */
  readonly checkParameters: (parameters: JsonObject) => readonly SchemaViolation[];
  /** A JSON input against `input.schema`. Absent where there is none. With one, only `application/json` can be checked, and all else is to be refused. */
  readonly checkInput?: (input: Json) => readonly SchemaViolation[];
  /** `input.maxSize`, in bytes; default 4 MiB. */
  readonly maxInputBytes: number;
  /** In seconds; default for its Executions. */
  readonly ttlSecondsAfterFinished?: number;
  /** How many of its Executions run at once. Absent: no limit of its own, and in an inline spec. */
  readonly concurrency?: ConcurrencyRule;
  /** How many finished Executions are kept, by outcome; `failed` counts cancelled ones too. Absent: all. */
  readonly historyLimit?: { readonly succeeded?: number; readonly failed?: number };
}

/** A Pipeline's `spec.concurrency`. */
export interface ConcurrencyRule {
  readonly limit: number;
  readonly policy: "Queue" | "Forbid" | "Replace";
  /** Absent: as long as it takes. */
  readonly queueTimeoutMs?: number;
}

/** What compiles to the same Plan again, wherever and whenever: the content of a revision. JSON through and through. */
export interface PipelineClosure {
  readonly name: string;
  readonly spec: AnyPipelineSpec;
  /** All that it brings in, in the order of their names. */
  readonly pipelines: readonly NamedPipeline[];
  /**
   * Those of its steps and of the Pipelines that it brings in, in the order of their names. Of their schemas only those that
   * a run checks against: see `pipeline/closure.ts`.
   */
  readonly processors: readonly ProcessorFacts[];
}

export interface NamedPipeline {
  readonly name: string;
  readonly spec: PipelineSpec;
}

/** ControllerRevisions that hold a {@link PipelineClosure}, named by its content: what running Executions keep when a Pipeline is edited or deleted. */
export interface Revisions {
  /**
   * Makes sure that the revision of this content exists, and gives its name, `<pipeline>-<hash>`. One create for each
   * content and process, none when it is known already; call it before the first step of a run that may outlive the Pipeline.
   * Throws ApiError.
   */
  ensure(namespace: string, pipeline: CompiledPipeline, signal: AbortSignal): Promise<string>;
  /** Compiles what the revision holds; the last few are kept. Throws MillraceError NotFound when it is gone or is not a revision of ours, else ApiError. */
  read(namespace: string, name: string, signal: AbortSignal): Promise<CompiledPipeline>;
}

/** Objects by namespace and name, with listeners that hear of each change. */
export class Register<T> {
  readonly #entries = new Map<string, T>();
  readonly #listeners = new Set<(namespace: string, name: string) => void>();

  get(namespace: string, name: string): T | undefined {
    return this.#entries.get(`${namespace}/${name}`);
  }

  get size(): number {
    return this.#entries.size;
  }

  set(namespace: string, name: string, entry: T): void {
    this.#entries.set(`${namespace}/${name}`, entry);
    this.#tell(namespace, name);
  }

  delete(namespace: string, name: string): void {
    if (this.#entries.delete(`${namespace}/${name}`)) this.#tell(namespace, name);
  }

  /** Calls `listener` after each change, synchronously: it may enqueue a key and nothing else. Gives what ends it. */
  onChange(listener: (namespace: string, name: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(namespace: string, name: string): void {
    for (const listener of this.#listeners) listener(namespace, name);
  }
}
