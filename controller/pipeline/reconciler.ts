import type { Ports } from "../../engine/clock.ts";
import type { KubernetesObject } from "../api/client.ts";
import type { SchemaCompiler } from "../api/json-schema.ts";
import { observedConditions } from "../api/observed.ts";
import type { InlinePipelineSpec, Pipeline, PipelineSpec } from "../api/types.ts";
import type { PipelineEntry, PipelineState, ProcessorEntry, ProcessorVersion, Register } from "../catalog.ts";
import { type Condition, findCondition } from "../runtime/conditions.ts";
import type { EventRecorder } from "../runtime/events.ts";
import { keyFor, type ObjectKey, refOf } from "../runtime/object-key.ts";
import type { Indexer, Lister } from "../runtime/object-store.ts";
import type { StatusWriter } from "../runtime/status-writer.ts";
import type { ReconcileResult, Reconciler } from "../runtime/worker.ts";
import { checkPipeline, type PipelineCheck } from "./check.ts";
import { decide, loadingReason, type PipelineDecision, type WaitingProcessor } from "./decide.ts";
import { pipelineStatus } from "./status.ts";

export interface PipelineReconcilerOptions {
  readonly ports: Ports;
  readonly pipelines: Lister;
  /** Which Processors exist, before the catalog knows more of them. */
  readonly processors: Lister;
  readonly catalogued: Register<ProcessorEntry>;
  readonly entries: Register<PipelineEntry>;
  readonly schemas: SchemaCompiler;
  readonly statuses: StatusWriter;
  readonly events: EventRecorder;
}

/** Finds the Pipelines that name a Processor, by `namespace/name` of it. */
export const byProcessor: Indexer = (object: KubernetesObject) => {
  const { spec, metadata } = object as Pipeline;
  const names = new Set(spec.steps.map((step) => step.processor));
  return [...names].map((name) => keyFor({ namespace: metadata.namespace ?? "", name }));
};

const unchecked: PipelineCheck = { ok: false, problems: [] };

/** What was compiled last, and of what: the same is not compiled again. */
interface Compiled {
  readonly uid: string;
  readonly generation: number;
  readonly versions: readonly (ProcessorVersion | undefined)[];
  readonly check: PipelineCheck;
}

/** The Processors that a spec names, as they are now. */
interface NamedProcessors {
  readonly versions: ReadonlyMap<string, ProcessorVersion>;
  readonly waiting: readonly WaitingProcessor[];
}

/** Pipeline → checked and compiled, in the catalog, and conditions. Looked at again when a Processor that it names appears, changes or goes. */
export class PipelineReconciler implements Reconciler {
  readonly #options: PipelineReconcilerOptions;
  readonly #compiled = new Map<ObjectKey, Compiled>();

  constructor(options: PipelineReconcilerOptions) {
    this.#options = options;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const { namespace = "", name } = refOf(key);
    const object = this.#options.pipelines.get(key) as Pipeline | undefined;
    if (object === undefined) {
      this.#compiled.delete(key);
      this.#options.entries.delete(namespace, name);
      return {};
    }
    const named = this.#named(namespace, object.spec);
    // While Processors are being loaded one after another, the Pipeline is not compiled for each of them.
    const isLoading = named.waiting.some(({ reason }) => reason === loadingReason);
    const check = isLoading ? unchecked : this.#check(key, object, named);
    const decision = decide(object.spec.steps, check, named.waiting);
    this.#enter(object, decision);
    // After a restart every Processor is loaded anew, and new ones are soon loaded: nothing is worth a write until then.
    if (!isLoading) await this.#writeStatus(object, decision, signal);
    return {};
  }

  /**
   * Lets the catalog know at once that a Pipeline exists, or has another generation, unless it knows: an Execution that is
   * created after an edit waits for what was edited, and does not run what was there before.
   */
  announceNew(key: ObjectKey): void {
    const object = this.#options.pipelines.get(key);
    if (object === undefined) return;
    const { namespace = "", name, uid = "", generation = 0 } = object.metadata;
    const known = this.#options.entries.get(namespace, name);
    if (known?.uid === uid && known.generation === generation) return;
    const state = { ready: false, reason: "Pending", message: "it is being checked" } as const;
    this.#options.entries.set(namespace, name, { uid, generation, state });
  }

  /** Compiles an Execution's inline `pipelineSpec` against what serves now. */
  compileInline(namespace: string, name: string, spec: InlinePipelineSpec): PipelineState {
    const named = this.#named(namespace, spec);
    return stateOf(decide(spec.steps, checkPipeline(name, spec, named.versions, this.#options.schemas), named.waiting));
  }

  #named(namespace: string, spec: PipelineSpec | InlinePipelineSpec): NamedProcessors {
    const versions = new Map<string, ProcessorVersion>();
    const waiting: WaitingProcessor[] = [];
    for (const name of new Set(spec.steps.map((step) => step.processor))) {
      const entry = this.#options.catalogued.get(namespace, name);
      if (entry?.serving !== undefined) versions.set(name, entry.serving);
      else if (entry?.waiting !== undefined) {
        waiting.push({ name, reason: entry.waitingReason ?? loadingReason, message: entry.waiting });
      } else if (this.#options.processors.get(keyFor({ namespace, name })) !== undefined) {
        waiting.push({ name, reason: loadingReason, message: "it is being loaded" });
      }
    }
    return { versions, waiting };
  }

  #check(key: ObjectKey, object: Pipeline, named: NamedProcessors): PipelineCheck {
    const { uid = "", generation = 0, name } = object.metadata;
    const versions = object.spec.steps.map((step) => named.versions.get(step.processor));
    const last = this.#compiled.get(key);
    const isSame =
      last?.uid === uid &&
      last.generation === generation &&
      versions.every((version, step) => version === last.versions[step]);
    if (isSame) return last.check;
    const check = checkPipeline(name, object.spec, named.versions, this.#options.schemas);
    this.#compiled.set(key, { uid, generation, versions, check });
    return check;
  }

  /** Tells the catalog, unless it knows. */
  #enter(object: Pipeline, decision: PipelineDecision): void {
    const { namespace = "", name, uid = "", generation = 0 } = object.metadata;
    const known = this.#options.entries.get(namespace, name);
    const state = stateOf(decision);
    if (known?.uid === uid && known.generation === generation && isSameState(known.state, state)) return;
    this.#options.entries.set(namespace, name, { uid, generation, state });
  }

  async #writeStatus(object: Pipeline, decision: PipelineDecision, signal: AbortSignal): Promise<void> {
    const status = pipelineStatus(object, decision, this.#options.ports.clock.now());
    const outcome = await this.#options.statuses.patch(object, { ...status }, signal);
    if (outcome.kind !== "Written") return;
    const now = readyOf(outcome.object as Pipeline);
    const then = readyOf(object);
    if (now === undefined || (now.status === then?.status && now.reason === then.reason)) return;
    const type = now.status === "True" ? "Normal" : "Warning";
    this.#options.events.record(outcome.object, { type, reason: now.reason, message: now.message });
  }
}

function stateOf(decision: PipelineDecision): PipelineState {
  if (decision.state === "Ready") return { ready: true, pipeline: decision.pipeline };
  return { ready: false, reason: decision.reason, message: decision.message };
}

function isSameState(known: PipelineState, state: PipelineState): boolean {
  if (known.ready || state.ready) return known.ready && state.ready && known.pipeline === state.pipeline;
  return known.reason === state.reason && known.message === state.message;
}

function readyOf(object: Pipeline): Condition | undefined {
  return findCondition(observedConditions(object.status), "Ready");
}
