import type { ModuleCaches } from "../../backends/backend.ts";
import type { PoolStats } from "../../backends/pool.ts";
import { SlidingRetryBudgets } from "../../engine/run/retry-budget.ts";
import type { KubernetesObject } from "../api/client.ts";
import { executions, pipelines, processors } from "../api/kinds.ts";
import type { Execution, Pipeline } from "../api/types.ts";
import { type Catalog, Register } from "../catalog.ts";
import type { ExecutionController, ExecutionDependencies } from "../execution/controller.ts";
import { createExecutionController } from "../execution/reconciler.ts";
import type { NamespaceUids } from "../payloads/namespaces.ts";
import type { PayloadStore } from "../payloads/store.ts";
import { dependentsOfProcessor, indexers as pipelineIndexers } from "../pipeline/dependents.ts";
import { PipelineReconciler } from "../pipeline/reconciler.ts";
import { RevisionStore } from "../pipeline/revision.ts";
import { ConfigMapVersions, type ConfigMapVersionsOptions } from "../processor/config-maps.ts";
import type { Backends } from "../processor/load.ts";
import { ProcessorReconciler } from "../processor/reconciler.ts";
import { ProcessorSecrets } from "../processor/secrets.ts";
import { Versions } from "../processor/versions.ts";
import { keyFor, keyOf, type ObjectKey } from "../runtime/object-key.ts";
import type { Indexer } from "../runtime/object-store.ts";
import { StatusWriter } from "../runtime/status-writer.ts";
import type { Reconciler } from "../runtime/worker.ts";
import { Controlled } from "./controlled.ts";
import { FirstRound } from "./first-round.ts";
import type { Runtime } from "./runtime.ts";

export interface ControllersOptions {
  readonly runtime: Runtime;
  readonly backends: Backends;
  readonly payloads: PayloadStore;
  readonly uids: NamespaceUids;
  /** Empty: all. */
  readonly namespaces: readonly string[];
  /** Executions of one namespace that run at the same time; 0: any number. */
  readonly maxExecutionsPerNamespace: number;
  /** Called once each Processor that there was when the work began has been reconciled. */
  readonly onProcessorsSettled: () => void;
}

/** Reconciles at once, of one namespace at most half. A Processor's may wait for its source for a minute, an Execution's for writes. */
const concurrency = { processors: 32, pipelines: 8, executions: 32 } as const;

/** Finds the Executions that name a revision, by `namespace/name` of it. */
const byRevision: Indexer = (object) => {
  const { metadata, status } = object as Execution;
  if (status?.pipelineRevision === undefined) return [];
  return [keyFor({ namespace: metadata.namespace ?? "", name: status.pipelineRevision })];
};

/** Finds the Executions that name a Pipeline, by `namespace/name` of it. */
const byPipeline: Indexer = (object) => {
  const { metadata, spec } = object as Execution;
  return spec.pipeline === undefined ? [] : [keyFor({ namespace: metadata.namespace ?? "", name: spec.pipeline })];
};

/** The three kinds' controllers, wired to each other by the catalog. */
export class Controllers {
  readonly catalog: Catalog;
  readonly revisions: RevisionStore;
  readonly processors: Controlled;
  readonly pipelines: Controlled;
  readonly executions: Controlled;
  readonly execution: ExecutionController;
  readonly versions: Versions;
  readonly configMaps: ConfigMapVersions;
  readonly secrets: ProcessorSecrets;
  readonly #options: ControllersOptions;
  readonly #processorReconciler: ProcessorReconciler;
  readonly #pipelineReconciler: PipelineReconciler;

  constructor(options: ControllersOptions) {
    const { client, ports, schemas, logger, metrics, budget } = options.runtime;
    this.#options = options;
    const entries = { processors: new Register(), pipelines: new Register() } as Pick<
      Catalog,
      "processors" | "pipelines"
    >;
    this.revisions = new RevisionStore({ client, clock: ports.clock, schemas });
    this.secrets = new ProcessorSecrets(this.#named());
    this.versions = new Versions({
      ports,
      logger,
      metrics,
      budget,
      entries: entries.processors,
      secrets: this.secrets,
    });
    this.processors = this.#controlledProcessors();
    this.configMaps = new ConfigMapVersions(this.#named());
    this.#processorReconciler = this.#newProcessorReconciler();
    this.pipelines = this.#controlledPipelines();
    this.#pipelineReconciler = this.#newPipelineReconciler(entries);
    this.catalog = {
      ...entries,
      compileInline: (namespace, name, spec) => this.#pipelineReconciler.compileInline(namespace, name, spec),
      revisions: this.revisions,
    };
    this.execution = this.#newExecutionController();
    this.executions = this.#controlledExecutions();
    entries.processors.onChange((namespace, name) => this.#enqueuePipelinesOf(keyFor({ namespace, name })));
  }

  /** Of all backends that were needed so far. */
  get pools(): ReadonlyMap<string, PoolStats> {
    return this.#options.backends.pools();
  }

  /** Undefined: no WASM module was needed so far. */
  get moduleCaches(): ModuleCaches | undefined {
    return this.#options.backends.moduleCaches();
  }

  get all(): readonly Controlled[] {
    return [this.processors, this.pipelines, this.executions];
  }

  /** Whether any Execution, finished or not, names the revision. */
  isRevisionNamed(namespace: string, revision: string): boolean {
    const [found] = this.executions.kind.byIndex("revision", keyFor({ namespace, name: revision }));
    return found !== undefined;
  }

  /** Starts to write: once everything is listed, and only as the leader. */
  work(): void {
    this.processors.work(this.#firstRoundOfProcessors());
    this.pipelines.work(this.#pipelineReconciler);
    this.execution.begin();
    this.executions.work(this.execution);
  }

  #firstRoundOfProcessors(): Reconciler {
    const keys = [...this.processors.kind.list()].map(keyOf);
    return new FirstRound({
      reconciler: this.#processorReconciler,
      keys,
      onEnd: this.#options.onProcessorsSettled,
    });
  }

  #controlledProcessors(): Controlled {
    const { runtime, namespaces } = this.#options;
    return new Controlled({
      runtime,
      namespaces,
      resource: processors,
      concurrency: concurrency.processors,
      // At once: a Processor that the catalog does not know counts as deleted.
      onChange: (key) => this.#announce(key),
    });
  }

  #announce(key: ObjectKey): void {
    if (this.processors.kind.get(key) !== undefined) this.versions.announceNew(key);
  }

  /** For objects that Processors name: a change of one enqueues them. */
  #named(): ConfigMapVersionsOptions {
    const { watchClient: client, ports, logger, metrics } = this.#options.runtime;
    return {
      client,
      ports,
      logger,
      metrics,
      onChange: (keys) => {
        for (const key of keys) this.processors.queue.add(key);
      },
    };
  }

  #newProcessorReconciler(): ProcessorReconciler {
    const { runtime, backends } = this.#options;
    const { ports, schemas, events, logger } = runtime;
    return new ProcessorReconciler({
      ports,
      logger,
      schemas,
      events,
      backends,
      processors: this.processors.kind,
      versions: this.versions,
      configMaps: this.configMaps,
      secrets: this.secrets,
      statuses: statusWriter(runtime, this.processors),
    });
  }

  #controlledPipelines(): Controlled {
    const { runtime, namespaces } = this.#options;
    return new Controlled({
      runtime,
      namespaces,
      resource: pipelines,
      concurrency: concurrency.pipelines,
      indexers: pipelineIndexers,
      onChange: (key) => {
        for (const outer of this.#pipelineReconciler.announce(key)) this.pipelines.queue.add(outer);
      },
    });
  }

  #newPipelineReconciler(entries: Pick<Catalog, "processors" | "pipelines">): PipelineReconciler {
    const { runtime } = this.#options;
    const { ports, schemas, events } = runtime;
    return new PipelineReconciler({
      ports,
      schemas,
      events,
      pipelines: this.pipelines.kind,
      processors: this.processors.kind,
      catalogued: entries.processors,
      entries: entries.pipelines,
      // The Execution controller writes how many of its Executions wait and run.
      statuses: statusWriter(runtime, this.pipelines, ["executions"]),
    });
  }

  #enqueuePipelinesOf(processor: ObjectKey): void {
    for (const key of dependentsOfProcessor(this.pipelines.kind, processor)) this.pipelines.queue.add(key);
  }

  #newExecutionController(): ExecutionController {
    const { runtime, payloads, uids, maxExecutionsPerNamespace: maxPerNamespace } = this.#options;
    const { client, ports, events, logger, metrics, replica } = runtime;
    return createExecutionController({
      client,
      ports,
      catalog: this.catalog,
      payloads,
      namespaces: uids,
      cached: (key) => this.executions.kind.get(key),
      list: () => this.executions.kind.list(),
      ofPipeline: (pipeline) => this.executions.kind.byIndex("pipeline", pipeline),
      recordedCounts: (pipeline) => this.#recordedCounts(pipeline),
      observe: (object) => this.executions.kind.observe(object),
      enqueue: (key) => this.executions.queue.add(key),
      events,
      logger,
      metrics,
      retryBudgets: new SlidingRetryBudgets(ports.clock),
      replica,
      maxPerNamespace,
    });
  }

  #recordedCounts(pipeline: ObjectKey): ReturnType<ExecutionDependencies["recordedCounts"]> {
    const object = this.pipelines.kind.get(pipeline) as Pipeline | undefined;
    if (object === undefined) return undefined;
    const counts = object.status?.executions;
    return counts === undefined ? {} : { counts };
  }

  #controlledExecutions(): Controlled {
    const { runtime, namespaces } = this.#options;
    return new Controlled({
      runtime,
      namespaces,
      resource: executions,
      concurrency: concurrency.executions,
      indexers: { revision: byRevision, pipeline: byPipeline },
      transform: this.execution.slim,
    });
  }
}

function statusWriter(
  { client, ports, logger }: Runtime,
  { kind, resource }: Controlled,
  foreign: readonly string[] = [],
): StatusWriter {
  const onWritten = (object: KubernetesObject) => kind.observe(object);
  return new StatusWriter({ client, resource, ports, logger, onWritten, foreign });
}
