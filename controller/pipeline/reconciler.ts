import type { Ports } from "../../engine/clock.ts";
import type { ProcessorFacts } from "../../engine/pipeline.ts";
import type { SchemaCompiler } from "../api/json-schema.ts";
import { observedConditions } from "../api/observed.ts";
import type { InlinePipelineSpec, Pipeline } from "../api/types.ts";
import type {
  AnyPipelineSpec,
  InlineState,
  PipelineEntry,
  PipelineState,
  ProcessorEntry,
  ProcessorVersion,
  Register,
} from "../catalog.ts";
import { type Condition, findCondition } from "../runtime/conditions.ts";
import type { EventRecorder } from "../runtime/events.ts";
import { keyFor, type ObjectKey, refOf } from "../runtime/object-key.ts";
import type { Lister } from "../runtime/object-store.ts";
import type { StatusWriter } from "../runtime/status-writer.ts";
import type { ReconcileResult, Reconciler } from "../runtime/worker.ts";
import { checkPipeline, type Known, type PipelineCheck } from "./check.ts";
import { decide, loadingReason, type PipelineDecision, type WaitingProcessor } from "./decide.ts";
import { dependentsOfPipeline } from "./dependents.ts";
import { type Resolved, resolveNames } from "./named.ts";
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

const unchecked: PipelineCheck = { ok: false, problems: [] };

/** By name, those that exist; undefined: nothing of it serves yet. */
type KnownProcessors = ReadonlyMap<string, ProcessorVersion | undefined>;

/** What was compiled last, and of what: the same is not compiled again. */
interface Compiled {
  /** Of the Pipeline itself, and by name of those that it brings in: which object, in which generation. */
  readonly self: string;
  readonly nested: ReadonlyMap<string, string>;
  readonly processors: KnownProcessors;
  readonly check: PipelineCheck;
}

/** What a spec names, as it is now. */
interface Named {
  readonly resolved: Resolved;
  /** By name; of what does not exist there is none. */
  readonly nested: ReadonlyMap<string, string>;
  readonly processors: KnownProcessors;
  readonly waiting: readonly WaitingProcessor[];
}

/** Pipeline → checked and compiled, in the catalog, and conditions. Looked at again when what it names appears, changes or goes. */
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
    const decision = decide(check, named.waiting);
    this.#enter(object, decision);
    // After a restart every Processor is loaded anew, and new ones are soon loaded: nothing is worth a write until then.
    if (!isLoading) await this.#writeStatus(object, decision, signal);
    return {};
  }

  /**
   * Lets the catalog know at once that a Pipeline exists, or has another generation, unless it knows: an Execution that is
   * created after an edit waits for what was edited, and does not run what was there before. So do those of Pipelines that
   * bring it in; gives the keys of these, which are to be looked at again.
   */
  announce(key: ObjectKey): readonly ObjectKey[] {
    const { pipelines, entries } = this.#options;
    const object = pipelines.get(key) as Pipeline | undefined;
    const { namespace = "", name } = refOf(key);
    const { uid = "", generation = 0 } = object?.metadata ?? {};
    const known = entries.get(namespace, name);
    if (object !== undefined && (known?.uid !== uid || known.generation !== generation)) {
      entries.set(namespace, name, { uid, generation, state: pending });
    }
    const outdated = [...dependentsOfPipeline(pipelines, key)].filter((outer) => {
      const compiled = this.#compiled.get(outer);
      return compiled !== undefined && compiled.nested.get(name) !== identityOf(object);
    });
    for (const outer of outdated) this.#setPending(outer);
    return outdated;
  }

  /** Compiles an Execution's inline `pipelineSpec` against what exists and serves now. */
  compileInline(namespace: string, name: string, spec: InlinePipelineSpec): InlineState {
    const named = this.#named(namespace, spec);
    const check = checkPipeline(name, spec, { ...known(named), isInline: true }, this.#options.schemas);
    return { ...stateOf(decide(check, named.waiting)), names: named.resolved.names };
  }

  #setPending(key: ObjectKey): void {
    const { namespace = "", name } = refOf(key);
    const known = this.#options.entries.get(namespace, name);
    if (known?.state.ready) this.#options.entries.set(namespace, name, { ...known, state: pending });
  }

  #named(namespace: string, spec: AnyPipelineSpec): Named {
    const nested = new Map<string, string>();
    const resolved = resolveNames(spec, (name) => {
      const object = this.#options.pipelines.get(keyFor({ namespace, name })) as Pipeline | undefined;
      if (object !== undefined) nested.set(name, identityOf(object));
      return object?.spec;
    });
    const processors = new Map<string, ProcessorVersion | undefined>();
    const waiting: WaitingProcessor[] = [];
    for (const name of resolved.names.processors) {
      const entry = this.#options.catalogued.get(namespace, name);
      if (entry === undefined && this.#options.processors.get(keyFor({ namespace, name })) === undefined) continue;
      processors.set(name, entry?.serving);
      if (entry?.serving !== undefined) continue;
      const { waitingReason: reason = loadingReason, waiting: message = "it is being loaded" } = entry ?? {};
      waiting.push({ name, reason, message });
    }
    return { resolved, nested, processors, waiting };
  }

  #check(key: ObjectKey, object: Pipeline, named: Named): PipelineCheck {
    const last = this.#compiled.get(key);
    const self = identityOf(object);
    const { nested, processors } = named;
    const isSame = last?.self === self && isSameMap(last.nested, nested) && isSameMap(last.processors, processors);
    if (isSame) return last.check;
    const check = checkPipeline(object.metadata.name, object.spec, known(named), this.#options.schemas);
    this.#compiled.set(key, { self, nested, processors, check });
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

const pending = { ready: false, reason: "Pending", message: "it is being checked" } as const;

/** Which object, in which generation. */
function identityOf(object: Pipeline): string;
function identityOf(object: Pipeline | undefined): string | undefined;
function identityOf(object: Pipeline | undefined): string | undefined {
  return object === undefined ? undefined : `${object.metadata.uid}/${object.metadata.generation}`;
}

function isSameMap<T>(a: ReadonlyMap<string, T>, b: ReadonlyMap<string, T>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.has(key) && b.get(key) === value);
}

/** For the check a Processor that is waited for is there: what is wrong besides is said at once. */
function known({ resolved, processors }: Named): Known {
  const facts = [...processors].map(
    ([name, version]) => [name, version === undefined ? unknownFacts(name) : version.facts] as const,
  );
  return { resolved, processors: new Map(facts) };
}

/** What the engine takes of a Processor of which it knows nothing. */
function unknownFacts(name: string): ProcessorFacts {
  const backoff = { initialMs: 1, factor: 1, maxMs: 1, jitterPercent: 0 };
  return {
    name,
    intent: "Transform",
    lane: "Local",
    delivery: "AtLeastOnce",
    options: {},
    timeoutMs: 1,
    retry: { limit: 0, backoff, codes: [] },
    budgetPercent: 0,
  };
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
