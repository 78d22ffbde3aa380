import { MillraceError } from "../../engine/errors.ts";
import type { KubernetesObject } from "../api/client.ts";
import { executions } from "../api/kinds.ts";
import type { Condition, Execution, ExecutionStatus } from "../api/types.ts";
import type { CompiledPipeline } from "../catalog.ts";
import { isNotFound, isTransient } from "../runtime/api-errors.ts";
import type { ObjectKey } from "../runtime/object-key.ts";
import { StatusWriter } from "../runtime/status-writer.ts";
import type { ReconcileResult } from "../runtime/worker.ts";
import { Places } from "./admission.ts";
import type { ExecutionController, ExecutionDependencies } from "./controller.ts";
import { type Decision, decide, type Facts } from "./decide.ts";
import { Gatherer } from "./gather.ts";
import { givenPayload, type RunInput, readInput } from "./input.ts";
import { keptInput, type ReadAgain } from "./kept-input.ts";
import { isFinished, isSameOwner, uidOf } from "./objects.ts";
import { nextOwner } from "./ownership.ts";
import { RunPayloads } from "./payloads.ts";
import { firstReportMs } from "./progress.ts";
import { LiveRun, type RunEnd } from "./runner.ts";
import { type CachedExecution, slim } from "./slim.ts";
import {
  cancelledRows,
  conditionsFor,
  pipelineTimeout,
  renderStatus,
  saySame,
  type Verdict,
  withGeneration,
} from "./status.ts";
import { DelayQueue } from "./ttl.ts";
import { Waiters } from "./waiters.ts";

const defaultMaxRunning = 1_000;

/** Fewer than the client has connections, so that watches and Leases never wait for a status. */
const maxStarting = 32;

/** How soon a run whose outcome could not be written is looked at again. In milliseconds. */
const brokenRetryMs = 5_000;

/** What recording may take when this process leaves, in milliseconds; an API server that is away must not hold it up. */
const leaveMs = 5_000;

/** See {@link ExecutionController}. */
export function createExecutionController(deps: ExecutionDependencies): ExecutionController {
  return new ExecutionReconciler(deps);
}

class ExecutionReconciler implements ExecutionController {
  readonly slim: (object: KubernetesObject) => KubernetesObject = slim;
  readonly #deps: ExecutionDependencies;
  readonly #gatherer: Gatherer;
  readonly #writer: StatusWriter;
  readonly #places: Places;
  readonly #live = new Map<ObjectKey, LiveRun>();
  readonly #waiters = new Waiters();
  /** What the reflector had when a write found more: until it has caught up, nothing is to be started. */
  readonly #lost = new Map<ObjectKey, string | undefined>();
  readonly #later: DelayQueue<ObjectKey>;
  readonly #unsubscribe: readonly (() => void)[];
  #stopped: Promise<void> | undefined;

  constructor(deps: ExecutionDependencies) {
    const { catalog, client, enqueue, logger, ports } = deps;
    this.#deps = deps;
    this.#gatherer = new Gatherer(deps);
    const onWritten = (object: KubernetesObject) => deps.observe(slim(object));
    this.#writer = new StatusWriter({ client, resource: executions, ports, logger, onWritten });
    const running = deps.maxRunning ?? defaultMaxRunning;
    this.#places = new Places({ running, starting: maxStarting }, enqueue);
    this.#later = new DelayQueue(ports, enqueue);
    const wake = (kind: string) => (namespace: string, name: string) => {
      for (const key of this.#waiters.of(`${namespace}/${kind}/${name}`)) enqueue(key);
    };
    this.#unsubscribe = [catalog.pipelines.onChange(wake("pipeline")), catalog.processors.onChange(wake("processor"))];
  }

  get load(): ExecutionController["load"] {
    return { running: this.#places.held, waiting: this.#places.waiting };
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const execution = this.#deps.cached(key) as CachedExecution | undefined;
    await this.#endForeign(key, execution);
    if (this.#isBehind(key, execution)) return {};
    const state = { isLive: this.#live.has(key), isStopping: this.#stopped !== undefined };
    const facts = await this.#gatherer.gather(execution, state, signal);
    const decision = decide(facts);
    if (decision.action !== "Wait") this.#waiters.delete(key);
    const mayRun = decision.action === "Start" || decision.action === "Resume" || decision.action === "Observe";
    if (!mayRun) this.#places.leave(key);
    if (execution === undefined || decision.action === "None") this.#later.delete(key);
    else await this.#act(key, execution, facts, decision, signal);
    return {};
  }

  async stop(graceMs: number): Promise<void> {
    this.#stopped ??= this.#drain(graceMs);
    await this.#stopped;
  }

  async #drain(graceMs: number): Promise<void> {
    for (const end of this.#unsubscribe) end();
    this.#later.clear();
    const runs = [...this.#live.values()];
    await this.#within(graceMs, runs);
    for (const run of runs) run.leave();
    await this.#within(leaveMs, runs);
    for (const run of runs) run.abandon();
    await Promise.all(runs.map(({ done }) => done));
  }

  async #within(timeMs: number, runs: readonly LiveRun[]): Promise<void> {
    const over = Promise.withResolvers<void>();
    const timer = this.#deps.ports.scheduler.after(timeMs, over.resolve);
    await Promise.race([Promise.all(runs.map(({ done }) => done)), over.promise]);
    timer.cancel();
  }

  /** A run whose object is gone, is going, or is another one of the same name ends before anything else is decided. */
  async #endForeign(key: ObjectKey, execution: Execution | undefined): Promise<void> {
    const run = this.#live.get(key);
    if (run === undefined) return;
    const isOurs = execution !== undefined && uidOf(execution) === run.uid;
    if (isOurs && execution.metadata.deletionTimestamp === undefined) return;
    run.abandon();
    await run.done;
  }

  #isBehind(key: ObjectKey, execution: Execution | undefined): boolean {
    if (execution !== undefined && this.#lost.get(key) === execution.metadata.resourceVersion) return true;
    this.#lost.delete(key);
    return false;
  }

  async #act(
    key: ObjectKey,
    execution: CachedExecution,
    facts: Facts,
    decision: Exclude<Decision, { action: "None" }>,
    signal: AbortSignal,
  ): Promise<void> {
    switch (decision.action) {
      case "Observe":
        this.#live.get(key)?.observe(execution);
        return;
      case "Wait":
        return await this.#wait(key, execution, facts, decision, signal);
      case "Conclude":
        return await this.#conclude(execution, decision, signal);
      case "Start":
      case "Resume":
        return await this.#begin(key, execution, decision.pipeline, signal);
      case "Acknowledge":
        return await this.#acknowledge(execution, decision.generation, signal);
      case "Expire":
        this.#later.set(key, key, decision.atMs);
        return;
      case "Delete":
        return await this.#delete(execution, signal);
    }
  }

  /** A wait shorter than a run's first report is not reported: an Execution applied together with its Pipeline costs one write. */
  async #wait(
    key: ObjectKey,
    execution: Execution,
    facts: Facts,
    { reason, message, overAtMs }: Extract<Decision, { action: "Wait" }>,
    signal: AbortSignal,
  ): Promise<void> {
    const namespace = execution.metadata.namespace ?? "";
    const wakers = this.#gatherer.wakers(execution, facts.pipeline).map((name) => `${namespace}/${name}`);
    const sinceMs = this.#waiters.add(key, wakers, facts.nowMs);
    if (facts.nowMs - sinceMs < firstReportMs) {
      this.#later.set(key, key, sinceMs + firstReportMs);
      return;
    }
    if (overAtMs !== undefined) this.#later.set(key, key, overAtMs);
    const verdict = { phase: "Pending", reason, message } as const;
    const generation = execution.metadata.generation ?? 1;
    const before = execution.status?.conditions ?? [];
    const conditions = conditionsFor(verdict, generation, before, facts.nowMs);
    if (saySame(before, conditions)) return;
    // Of a run that waits to be resumed all else stays as it is.
    if (execution.status?.owner !== undefined) {
      await this.#say(execution, generation, conditions, signal);
      return;
    }
    const status = renderStatus({ verdict, generation, conditions: before, rows: [] }, facts.nowMs);
    await this.#put(execution, status, signal);
  }

  /** An outcome without a run: refused, cancelled before it began, or given up. */
  async #conclude(cached: Execution, verdict: Verdict, signal: AbortSignal): Promise<void> {
    const { ports, replica } = this.#deps;
    const isRecorded = cached.status?.owner !== undefined;
    const execution = isRecorded ? await this.#read(cached, signal) : cached;
    if (execution === undefined || isFinished(execution.status)) return;
    const { status, metadata } = execution;
    const reason = "reason" in verdict ? verdict.reason : verdict.phase;
    const epoch = (status?.owner?.epoch ?? 0) + 1;
    const facts = {
      verdict,
      generation: metadata.generation ?? 1,
      conditions: status?.conditions ?? [],
      rows: cancelledRows(status?.steps ?? [], reason === pipelineTimeout ? reason : "Cancelled"),
      owner: { replica, epoch },
      ...(status?.startTime === undefined ? {} : { startTime: status.startTime }),
      ...(status?.pipelineRevision === undefined ? {} : { pipelineRevision: status.pipelineRevision }),
    };
    const concluded = await this.#put(execution, renderStatus(facts, ports.clock.now()), signal);
    if (concluded === undefined || verdict.phase === "Pending") return;
    const type = verdict.phase === "Failed" ? "Warning" : "Normal";
    this.#deps.events.record(execution, { type, reason, message: verdict.message });
    if (verdict.phase === "Failed" || verdict.phase === "Cancelled")
      this.#deps.metrics?.executionFinished(verdict.phase, 0);
  }

  async #begin(
    key: ObjectKey,
    cached: CachedExecution,
    pipeline: CompiledPipeline,
    signal: AbortSignal,
  ): Promise<void> {
    if (!this.#places.enter(key)) return;
    let run: LiveRun | undefined;
    try {
      run = await this.#prepare(cached, pipeline, signal);
    } finally {
      if (run === undefined) this.#places.leave(key);
    }
    if (run === undefined) return;
    this.#live.set(key, run);
    void run.reported.then(() => this.#places.settled(key));
    // `done` never rejects and `#ended` does not throw.
    const { uid } = run;
    void run.done.then((end) => this.#ended(key, uid, end));
  }

  /** Everything that a run needs, read and checked, the revision pinned; undefined when there is nothing to run after all. */
  async #prepare(
    cached: CachedExecution,
    pipeline: CompiledPipeline,
    signal: AbortSignal,
  ): Promise<LiveRun | undefined> {
    const isRecorded = cached.status?.owner !== undefined;
    const execution = isRecorded || cached.inputOmitted === true ? await this.#read(cached, signal) : cached;
    if (execution === undefined || isFinished(execution.status)) return undefined;
    // The copy was behind: what it says now decides, and its event is on the way.
    if (!isSameOwner(execution.status?.owner, cached.status?.owner)) return undefined;
    const owner = nextOwner(execution.status?.owner, this.#deps.replica);
    if (owner === undefined) return undefined;
    const payloads = new RunPayloads(this.#deps.payloads, this.#deps.namespaces, execution.metadata.namespace ?? "");
    // Pinned first: an Execution whose input is refused has its Pipeline's ttl too.
    const revision = await this.#revision(execution, pipeline, signal);
    const pinned = revision === undefined ? {} : { pipelineRevision: revision };
    const status = { ...execution.status, ...pinned };
    const input = await this.#inputOf({ ...execution, status }, pipeline, payloads, signal);
    if (input === undefined) return undefined;
    const claimed = isRecorded ? await this.#claim(execution, owner, signal) : execution;
    if (claimed === undefined || this.#stopped !== undefined) return undefined;
    const recorded = claimed.status?.steps ?? [];
    const job = { execution: slim(claimed), recorded, payloads, pipeline, owner, ...input, ...pinned };
    return new LiveRun(job, this.#deps, this.#writer);
  }

  /** What is refused, or cannot be stored, is recorded as the outcome, and gives undefined. Throws ApiError. */
  async #inputOf(
    execution: Execution,
    pipeline: CompiledPipeline,
    payloads: RunPayloads,
    signal: AbortSignal,
  ): Promise<RunInput | undefined> {
    try {
      const { input, parameters } = await readInput(execution, pipeline, this.#deps.client, signal);
      return { input: await keptInput(input, payloads, this.#readAgain(slim(execution)), signal), parameters };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof MillraceError) || isTransient(error.cause)) throw error;
      await this.#conclude(execution, { phase: "Failed", reason: error.code, message: error.message }, signal);
      return undefined;
    }
  }

  #readAgain(started: CachedExecution): ReadAgain {
    return async (signal) => {
      const execution = await this.#read(started, signal);
      if (execution === undefined) throw new MillraceError("Cancelled", "the Execution was deleted");
      return await givenPayload(execution, this.#deps.client, signal);
    };
  }

  /** None for an inline spec: it is in the Execution, and cannot be edited there. */
  async #revision(execution: Execution, pipeline: CompiledPipeline, signal: AbortSignal): Promise<string | undefined> {
    const recorded = execution.status?.pipelineRevision;
    if (recorded !== undefined || execution.spec.pipeline === undefined) return recorded;
    const namespace = execution.metadata.namespace ?? "";
    const revision = await this.#deps.catalog.revisions.ensure(namespace, pipeline, signal);
    this.#gatherer.learn(namespace, revision, pipeline);
    return revision;
  }

  /** A take-over is written before anything runs, so that what brings a controller down is counted. */
  async #claim(
    execution: Execution,
    owner: NonNullable<ExecutionStatus["owner"]>,
    signal: AbortSignal,
  ): Promise<Execution | undefined> {
    const claimed = await this.#put(execution, { ...execution.status, owner }, signal);
    if (claimed === undefined) return undefined;
    const { progress = "its", owner: before } = execution.status ?? {};
    const isOurs = before?.replica === this.#deps.replica;
    const why = isOurs ? "its run here had ended without an outcome" : `replica ${before?.replica ?? ""} is gone`;
    const message = `Resumed from ${progress} recorded steps; ${why}`;
    this.#deps.events.record(execution, { type: "Normal", reason: "Resumed", message });
    return claimed;
  }

  #ended(key: ObjectKey, uid: string, end: RunEnd): void {
    this.#live.delete(key);
    this.#places.leave(key);
    if (this.#stopped !== undefined) return;
    if (end === "Broken") {
      this.#later.set(key, key, this.#deps.ports.clock.now() + brokenRetryMs);
      return;
    }
    const cached = this.#deps.cached(key) as CachedExecution | undefined;
    // The next object of that name has caught up already, and so has an outcome that somebody else wrote.
    const isBehind = cached !== undefined && uidOf(cached) === uid && !isFinished(cached.status);
    if (end === "Lost" && isBehind) this.#lost.set(key, cached.metadata.resourceVersion);
    else this.#deps.enqueue(key);
  }

  async #acknowledge(execution: Execution, generation: number, signal: AbortSignal): Promise<void> {
    const { name, namespace = "" } = execution.metadata;
    await this.#say(execution, generation, withGeneration(execution.status?.conditions ?? [], generation), signal);
    this.#deps.enqueue(`${namespace}/${name}`);
  }

  /** Rows are not in memory any more: only what changes is sent, on the version that was looked at. Throws ApiError, a conflict too. */
  async #say(
    { metadata }: Execution,
    generation: number,
    conditions: readonly Condition[],
    signal: AbortSignal,
  ): Promise<void> {
    const { name, namespace = "", resourceVersion = "" } = metadata;
    const status = { observedGeneration: generation, conditions: conditions.map((condition) => ({ ...condition })) };
    const patch = { type: "Merge", body: { metadata: { resourceVersion }, status } } as const;
    const written = await this.#deps.client.patch(executions, { namespace, name }, patch, "status", signal);
    this.#deps.observe(slim(written));
  }

  async #delete(execution: Execution, signal: AbortSignal): Promise<void> {
    const { name, namespace = "", uid, resourceVersion } = execution.metadata;
    // On the version that was looked at: an edit of the ttl at the last moment counts.
    const only = {
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    };
    try {
      const options = { propagationPolicy: "Background" as const, ...only };
      await this.#deps.client.delete(executions, { namespace, name }, options, signal);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  /** As the API server has it now; undefined when it is gone or is another one of the same name. */
  async #read(cached: Execution, signal: AbortSignal): Promise<Execution | undefined> {
    const { name, namespace = "" } = cached.metadata;
    try {
      const fresh = (await this.#deps.client.get(executions, { namespace, name }, signal)) as Execution;
      return uidOf(fresh) === uidOf(cached) ? fresh : undefined;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** A status outside of a run, on the version that was read. Undefined: it is gone. Throws ApiError, a conflict too: decide anew. */
  async #put(execution: Execution, status: ExecutionStatus, signal: AbortSignal): Promise<Execution | undefined> {
    const { name, namespace, uid, resourceVersion } = execution.metadata;
    const metadata = {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    };
    const object = { apiVersion: execution.apiVersion, kind: execution.kind, metadata, status };
    try {
      const written = (await this.#deps.client.update(executions, object, "status", signal)) as Execution;
      this.#deps.observe(slim(written));
      return written;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }
}
