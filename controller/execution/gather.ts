import { LRUCache } from "lru-cache";
import { MillraceError } from "../../engine/errors.ts";
import type { Execution } from "../api/types.ts";
import type { CompiledPipeline } from "../catalog.ts";
import type { ExecutionDependencies } from "./controller.ts";
import { type Facts, inlineFacts, type PipelineFacts, staysSuspended } from "./decide.ts";
import { isFinished } from "./objects.ts";

/** Revisions whose ttl is remembered. */
const maxRevisions = 1_000;

/** Reads what a decision needs, and nothing that this decision does not. */
export class Gatherer {
  readonly #deps: ExecutionDependencies;
  /** By namespace and name; false: there is none. A revision never changes. */
  readonly #ttls = new LRUCache<string, number | false>({ max: maxRevisions });

  constructor(deps: ExecutionDependencies) {
    this.#deps = deps;
  }

  /** Throws ApiError. */
  async gather(
    execution: Execution | undefined,
    state: Pick<Facts, "isLive" | "isStopping" | "replacedBy">,
    signal: AbortSignal,
  ): Promise<Facts> {
    const nowMs = this.#deps.ports.clock.now();
    const common = { execution, ...state, nowMs };
    const unread: PipelineFacts = { kind: "Missing", name: "" };
    if (execution === undefined || state.isLive) return { ...common, pipeline: unread };
    const isOver = isFinished(execution.status);
    if (!isOver && staysSuspended(execution)) return { ...common, pipeline: unread };
    if (!isOver) return { ...common, ...(await this.#pipeline(execution, signal)) };
    const ttlSeconds = await this.#ttlSeconds(execution, signal);
    return { ...common, pipeline: unread, ...(ttlSeconds === undefined ? {} : { ttlSeconds }) };
  }

  /** Names the register entries whose change may end a wait. */
  wakers({ spec }: Execution, { pipeline, names }: Pick<Facts, "pipeline" | "names">): readonly string[] {
    const { pipelines = [], processors = [] } = names ?? {};
    const named = spec.pipeline === undefined ? pipelines : [spec.pipeline, ...pipelines];
    const called = pipeline.kind === "Ready" ? pipeline.pipeline.processors : processors;
    return [...named.map((name) => `pipeline/${name}`), ...called.map((name) => `processor/${name}`)];
  }

  async #pipeline(execution: Execution, signal: AbortSignal): Promise<Pick<Facts, "pipeline" | "names">> {
    const namespace = execution.metadata.namespace ?? "";
    const { pipeline: name = "", pipelineSpec } = execution.spec;
    const revision = execution.status?.pipelineRevision;
    const { catalog } = this.#deps;
    if (revision !== undefined) return { pipeline: await this.#pinned(execution, revision, signal) };
    if (pipelineSpec !== undefined) {
      const state = catalog.compileInline(namespace, execution.metadata.name, pipelineSpec);
      const { names } = state;
      if (state.ready) return { pipeline: this.#ready(execution, state.pipeline), names };
      return { pipeline: inlineFacts(pipelineSpec, state), names };
    }
    const entry = catalog.pipelines.get(namespace, name);
    if (entry === undefined) return { pipeline: { kind: "Missing", name } };
    if (!entry.state.ready) return { pipeline: { kind: "NotReady", name, ...notReady(entry.state) } };
    return { pipeline: this.#ready(execution, entry.state.pipeline) };
  }

  /** A revision never changes: one that cannot be read or compiled now never can. */
  async #pinned(execution: Execution, revision: string, signal: AbortSignal): Promise<PipelineFacts> {
    const namespace = execution.metadata.namespace ?? "";
    try {
      return this.#ready(execution, await this.#deps.catalog.revisions.read(namespace, revision, signal));
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      const message = `the run cannot go on: ${error.message}; create the Execution anew`;
      return { kind: "RevisionLost", reason: error.code, message };
    }
  }

  /** A Processor that exists and is not loaded yet is waited for; one that is gone fails its step, and only that. */
  #ready(execution: Execution, pipeline: CompiledPipeline): PipelineFacts {
    for (const processor of pipeline.processors) {
      const entry = this.#deps.catalog.processors.get(execution.metadata.namespace ?? "", processor);
      if (entry === undefined || entry.serving !== undefined) continue;
      return {
        kind: "Ready",
        pipeline,
        waitingFor: { processor, why: entry.waiting ?? "it is being loaded" },
      };
    }
    return { kind: "Ready", pipeline };
  }

  /** The Execution's own ttl, else that of the Pipeline as it was when the run started, or is if it never did. */
  async #ttlSeconds({ metadata, spec, status }: Execution, signal: AbortSignal): Promise<number | undefined> {
    if (spec.ttlSecondsAfterFinished !== undefined) return spec.ttlSecondsAfterFinished;
    const revision = status?.pipelineRevision;
    const namespace = metadata.namespace ?? "";
    if (revision === undefined) return this.#currentTtl(namespace, spec.pipeline);
    const key = `${namespace}/${revision}`;
    const known = this.#ttls.get(key);
    if (known !== undefined) return known === false ? undefined : known;
    const ttl = await this.#readTtl(namespace, revision, signal);
    this.#ttls.set(key, ttl ?? false);
    return ttl;
  }

  /** What never started has no revision: the ttl is that of the Pipeline as it is now. */
  #currentTtl(namespace: string, pipeline: string | undefined): number | undefined {
    const state = pipeline === undefined ? undefined : this.#deps.catalog.pipelines.get(namespace, pipeline)?.state;
    return state?.ready === true ? state.pipeline.ttlSecondsAfterFinished : undefined;
  }

  async #readTtl(namespace: string, revision: string, signal: AbortSignal): Promise<number | undefined> {
    try {
      return (await this.#deps.catalog.revisions.read(namespace, revision, signal)).ttlSecondsAfterFinished;
    } catch (error) {
      // Without its revision an Execution has no default: it stays, which loses nothing.
      if (error instanceof MillraceError) return undefined;
      throw error;
    }
  }

  /** Remembers what a run knows already, so that nothing has to be read when it has ended. */
  learn(namespace: string, revision: string, { ttlSecondsAfterFinished }: CompiledPipeline): void {
    this.#ttls.set(`${namespace}/${revision}`, ttlSecondsAfterFinished ?? false);
  }
}

function notReady({ reason, message }: { readonly reason: string; readonly message: string }): {
  readonly reason: string;
  readonly message: string;
} {
  return { reason, message };
}
