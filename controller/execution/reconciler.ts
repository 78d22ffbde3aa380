import type { Json } from "../../engine/payload.ts";
import type { KubernetesObject } from "../api/client.ts";
import { executions } from "../api/kinds.ts";
import type { ActiveTime, Execution } from "../api/types.ts";
import { DelayQueue } from "../runtime/delay-queue.ts";
import { type ObjectKey, refOf } from "../runtime/object-key.ts";
import { StatusWriter } from "../runtime/status-writer.ts";
import type { ReconcileResult } from "../runtime/worker.ts";
import { activeMs, ranFor } from "./active.ts";
import { Admission } from "./admission/admission.ts";
import { ConcurrencyRules } from "./admission/concurrency.ts";
import { decideQueued, type QueueDecision } from "./admission/queueing.ts";
import { Roster } from "./admission/roster.ts";
import { holdsByRecord, ticketOf } from "./admission/ticket.ts";
import { Waiters } from "./admission/waiters.ts";
import type { ExecutionController, ExecutionDependencies } from "./controller.ts";
import { type Decision, decide, type Facts } from "./decide.ts";
import { ExecutionWriter } from "./execution-writer.ts";
import { Gatherer } from "./gather.ts";
import { isFinished, uidOf } from "./objects.ts";
import { PipelineDuties } from "./pipelines/pipeline-duties.ts";
import { Preparation } from "./preparation.ts";
import { firstReportMs } from "./run/progress.ts";
import { LiveRun, type RunEnd } from "./run/runner.ts";
import { type CachedExecution, slim } from "./slim.ts";
import {
  cancelledRows,
  conditionsFor,
  pipelineTimeout,
  reasonOf,
  renderStatus,
  saySame,
  type Verdict,
  withGeneration,
} from "./status.ts";

const defaultMaxRunning = 1_000;

/** Fewer than the client has connections, so that watches and Leases never wait for a status. */
const maxStarting = 32;

/** How soon a run whose outcome could not be written is looked at again. In milliseconds. */
const brokenRetryMs = 5_000;

/** What recording may take when this process leaves, in milliseconds; an API server that is away must not hold it up. */
const leaveMs = 5_000;

/** A decision that gives the Execution a place, or leaves it the one that it has. */
const places: readonly Decision["action"][] = ["Start", "Resume", "Observe", "Replace"];

/** See {@link ExecutionController}. */
export function createExecutionController(deps: ExecutionDependencies): ExecutionController {
  return new ExecutionReconciler(deps);
}

class ExecutionReconciler implements ExecutionController {
  readonly slim: (object: KubernetesObject) => KubernetesObject = slim;
  readonly #deps: ExecutionDependencies;
  readonly #gatherer: Gatherer;
  readonly #statuses: StatusWriter;
  readonly #writer: ExecutionWriter;
  readonly #preparation: Preparation;
  readonly #rules: ConcurrencyRules;
  readonly #admission: Admission;
  readonly #roster: Roster;
  readonly #duties: PipelineDuties;
  readonly #live = new Map<ObjectKey, LiveRun>();
  readonly #waiters = new Waiters();
  /** Those in the queue, by their Pipelines. */
  readonly #queuedOn = new Waiters();
  /** When a queued one was last told how many are before it. */
  readonly #saidAtMs = new Map<ObjectKey, number>();
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
    this.#statuses = new StatusWriter({ client, resource: executions, ports, logger, onWritten });
    this.#writer = new ExecutionWriter(deps);
    const conclude = this.#conclude.bind(this);
    this.#preparation = new Preparation({ deps, writer: this.#writer, gatherer: this.#gatherer, conclude });
    this.#rules = new ConcurrencyRules(catalog.pipelines);
    this.#admission = this.#newAdmission();
    this.#roster = new Roster({ ruleOf: (pipeline) => this.#rules.of(pipeline), onReplaced: enqueue });
    this.#duties = new PipelineDuties(deps, this.#writer, (pipeline) => this.#admission.countsOf(pipeline));
    this.#later = new DelayQueue(ports, enqueue);
    this.#unsubscribe = [
      catalog.pipelines.onChange((namespace, name) => this.#pipelineChanged(namespace, name)),
      catalog.processors.onChange((namespace, name) => this.#wake(`${namespace}/processor/${name}`)),
    ];
  }

  get load(): ExecutionController["load"] {
    return this.#admission.load;
  }

  get queued(): ExecutionController["queued"] {
    return this.#admission.queued;
  }

  begin(): void {
    for (const object of this.#deps.list()) {
      const execution = object as Execution;
      const ticket = ticketOf(execution);
      this.#roster.track(ticket.key, execution);
      if (holdsByRecord(execution)) this.#admission.expect(ticket);
    }
    this.#duties.begin();
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const execution = this.#deps.cached(key) as CachedExecution | undefined;
    await this.#endForeign(key, execution);
    if (this.#isBehind(key, execution)) return {};
    try {
      await this.#decideAndAct(key, execution, signal);
    } finally {
      this.#admission.met(key);
    }
    return {};
  }

  async stop(graceMs: number): Promise<void> {
    this.#stopped ??= this.#drain(graceMs);
    await this.#stopped;
  }

  #newAdmission(): Admission {
    const { ports, enqueue, metrics, maxRunning, maxPerNamespace } = this.#deps;
    return new Admission({
      clock: ports.clock,
      running: maxRunning ?? defaultMaxRunning,
      starting: maxStarting,
      perNamespace: maxPerNamespace ?? 0,
      ruleOf: (pipeline) => this.#rules.of(pipeline),
      onNews: enqueue,
      onCounted: (pipeline) => this.#duties.counted(pipeline),
      onAdmitted: (waitedMs) => metrics?.executionAdmitted(waitedMs),
    });
  }

  #pipelineChanged(namespace: string, name: string): void {
    const pipeline: ObjectKey = `${namespace}/${name}`;
    // Also where nobody asks: what it says now holds while it is being checked the next time.
    this.#rules.of(pipeline);
    this.#admission.ruleChanged();
    this.#roster.ruleChanged(pipeline);
    this.#duties.changed(pipeline);
    this.#wake(`${namespace}/pipeline/${name}`);
    for (const key of this.#queuedOn.of(pipeline)) this.#deps.enqueue(key);
  }

  #wake(name: string): void {
    for (const key of this.#waiters.of(name)) this.#deps.enqueue(key);
  }

  async #drain(graceMs: number): Promise<void> {
    for (const end of this.#unsubscribe) end();
    this.#later.clear();
    const dutiesEnded = this.#duties.stop();
    const runs = [...this.#live.values()];
    await this.#within(graceMs, runs);
    for (const run of runs) run.leave();
    await this.#within(leaveMs, runs);
    for (const run of runs) run.abandon();
    await Promise.all([dutiesEnded, ...runs.map(({ done }) => done)]);
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

  async #decideAndAct(key: ObjectKey, execution: CachedExecution | undefined, signal: AbortSignal): Promise<void> {
    this.#roster.track(key, execution);
    const newer = this.#roster.replacing(key);
    const facts = await this.#gatherer.gather(
      execution,
      {
        isLive: this.#live.has(key),
        isStopping: this.#stopped !== undefined,
        ...(newer === undefined ? {} : { replacedBy: nameOf(newer) }),
      },
      signal,
    );
    const decision = decide(facts);
    if (decision.action !== "Wait") this.#waiters.delete(key);
    if (!facts.isLive) this.#account(key, execution, decision);
    if (execution !== undefined && isFinished(execution.status)) this.#duties.finished(execution);
    if (execution === undefined || decision.action === "None") this.#later.delete(key);
    else await this.#act(key, execution, facts, decision, signal);
  }

  /** What is recorded as running counts, whatever is decided; all else without a decision to run counts no more. */
  #account(key: ObjectKey, execution: Execution | undefined, { action }: Decision): void {
    if (execution !== undefined && holdsByRecord(execution)) this.#admission.record(ticketOf(execution));
    if (places.includes(action)) return;
    this.#unqueued(key);
    this.#giveBack(key, execution);
  }

  #unqueued(key: ObjectKey): void {
    this.#saidAtMs.delete(key);
    this.#queuedOn.delete(key);
  }

  #giveBack(key: ObjectKey, execution: Execution | undefined): void {
    if (execution !== undefined && holdsByRecord(execution)) this.#admission.release(key);
    else this.#admission.leave(key);
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
      case "Replace":
        this.#live.get(key)?.observe(execution);
        this.#live.get(key)?.replaced(decision.message);
        return;
      case "Suspend":
        return await this.#suspend(execution, decision.message, facts.nowMs, signal);
      case "Wait":
        return await this.#wait(key, execution, facts, decision, signal);
      case "Conclude":
        return await this.#conclude(execution, decision, signal);
      case "Start":
      case "Resume":
        return await this.#begin(key, execution, facts, decision, signal);
      case "Acknowledge":
        return await this.#acknowledge(execution, decision.generation, signal);
      case "Expire":
        this.#later.set(key, key, decision.atMs);
        return;
      case "Delete":
        return await this.#writer.delete(execution, signal);
    }
  }

  async #suspend(execution: Execution, message: string, nowMs: number, signal: AbortSignal): Promise<void> {
    const { status } = execution;
    const active = holdsByRecord(execution) ? { active: { ...stopped(execution, nowMs), since: null } } : {};
    // What the run said when it paused is as good.
    const isSaid = status?.phase === "Suspended" && status.observedGeneration === (execution.metadata.generation ?? 1);
    if (!isSaid)
      await this.#tell(execution, { phase: "Suspended", message }, { queuedSince: null, ...active }, nowMs, signal);
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
    const wakers = this.#gatherer.wakers(execution, facts).map((name) => `${namespace}/${name}`);
    const sinceMs = this.#waiters.add(key, wakers, facts.nowMs);
    if (facts.nowMs - sinceMs < firstReportMs) {
      this.#later.set(key, key, sinceMs + firstReportMs);
      return;
    }
    if (overAtMs !== undefined) this.#later.set(key, key, overAtMs);
    await this.#tell(execution, { phase: "Pending", reason, message }, { queuedSince: null }, facts.nowMs, signal);
  }

  /** Says how an Execution that does not run stands, unless it is said. One that is to be resumed keeps its phase until it runs, or is queued or suspended. */
  async #tell(
    execution: Execution,
    verdict: Verdict,
    more: Readonly<Record<string, Json>>,
    nowMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { status, metadata } = execution;
    const generation = metadata.generation ?? 1;
    const before = status?.conditions ?? [];
    const conditions = conditionsFor(verdict, generation, before, nowMs);
    const phase = verdict.phase === "Pending" && holdsByRecord(execution) ? "Running" : verdict.phase;
    if (status?.phase === phase && saySame(before, conditions)) return;
    await this.#writer.say(execution, { generation, conditions }, { phase, ...more }, signal);
  }

  /** An outcome without a run: refused, cancelled before it began, or given up. */
  async #conclude(cached: Execution, verdict: Verdict, signal: AbortSignal): Promise<void> {
    const { ports, replica, events, metrics } = this.#deps;
    const isRecorded = cached.status?.owner !== undefined;
    const execution = isRecorded ? await this.#writer.read(cached, signal) : cached;
    if (execution === undefined || isFinished(execution.status)) return;
    const { status, metadata } = execution;
    const reason = reasonOf(verdict);
    const epoch = (status?.owner?.epoch ?? 0) + 1;
    const nowMs = ports.clock.now();
    const facts = {
      verdict,
      generation: metadata.generation ?? 1,
      conditions: status?.conditions ?? [],
      rows: cancelledRows(status?.steps ?? [], reason === pipelineTimeout ? reason : "Cancelled"),
      owner: { replica, epoch },
      ...(status?.startTime === undefined ? {} : { startTime: status.startTime, active: stopped(execution, nowMs) }),
      ...(status?.pipelineRevision === undefined ? {} : { pipelineRevision: status.pipelineRevision }),
    };
    const concluded = await this.#writer.put(execution, renderStatus(facts, nowMs), signal);
    if (concluded === undefined) return;
    const { phase, message } = verdict;
    events.record(execution, { type: phase === "Failed" ? "Warning" : "Normal", reason, message });
    if (phase === "Failed" || phase === "Cancelled") metrics?.executionFinished(phase, 0);
  }

  async #begin(
    key: ObjectKey,
    cached: CachedExecution,
    facts: Facts,
    decision: Extract<Decision, { action: "Start" | "Resume" }>,
    signal: AbortSignal,
  ): Promise<void> {
    const admittance = this.#admission.enter(ticketOf(cached), facts.nowMs);
    if (admittance.kind === "Waiting") return await this.#queue(key, cached, admittance, facts.nowMs, signal);
    this.#unqueued(key);
    this.#later.delete(key);
    let run: LiveRun | undefined;
    try {
      const cancel = decision.action === "Resume" ? decision.cancel : undefined;
      const job = await this.#preparation.job(cached, decision.pipeline, cancel, signal);
      if (job !== undefined && this.#stopped === undefined) run = new LiveRun(job, this.#deps, this.#statuses);
    } finally {
      if (run === undefined) this.#giveBack(key, cached);
    }
    if (run === undefined) return;
    this.#live.set(key, run);
    void run.reported.then(() => this.#admission.settled(key));
    // `done` never rejects and `#ended` does not throw.
    const { uid } = run;
    void run.done.then((end) => this.#ended(key, uid, end));
  }

  async #queue(
    key: ObjectKey,
    execution: Execution,
    { sinceMs, full }: Extract<ReturnType<Admission["enter"]>, { kind: "Waiting" }>,
    nowMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { pipeline } = ticketOf(execution);
    const [rule, runs] = pipeline === undefined ? [] : [this.#rules.of(pipeline), this.#admission.holderOf(pipeline)];
    // A change of its Pipeline may end the wait, or change what it waits for.
    this.#queuedOn.add(key, pipeline === undefined ? [] : [pipeline], nowMs);
    const saidAtMs = this.#saidAtMs.get(key);
    const decision = decideQueued({
      execution,
      sinceMs,
      nowMs,
      waiting: this.#admission.load.waiting,
      ...(full === undefined ? {} : { full }),
      ...(rule === undefined ? {} : { rule }),
      ...(runs === undefined ? {} : { runs: nameOf(runs) }),
      ...(saidAtMs === undefined ? {} : { saidAtMs }),
    });
    await this.#actQueued(key, execution, decision, nowMs, signal);
  }

  async #actQueued(
    key: ObjectKey,
    execution: Execution,
    decision: QueueDecision,
    nowMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    switch (decision.action) {
      case "Conclude":
        this.#admission.leave(key);
        this.#later.delete(key);
        return await this.#conclude(execution, decision, signal);
      case "Wait":
        if (execution.status?.phase === "Queued") this.#saidAtMs.set(key, this.#saidAtMs.get(key) ?? nowMs);
        break;
      case "Say": {
        const { verdict, queuedSinceMs } = decision;
        const queuedSince = queuedSinceMs === undefined ? null : new Date(queuedSinceMs).toISOString();
        this.#saidAtMs.set(key, nowMs);
        await this.#tell(execution, verdict, { queuedSince }, nowMs, signal);
      }
    }
    if (decision.againAtMs === undefined) this.#later.delete(key);
    else this.#later.set(key, key, decision.againAtMs);
  }

  #ended(key: ObjectKey, uid: string, end: RunEnd): void {
    this.#live.delete(key);
    // What is recorded as running counts on until its record is looked at.
    if (end === "Broken" || end === "Lost") this.#admission.release(key);
    else this.#admission.leave(key);
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
    const conditions = withGeneration(execution.status?.conditions ?? [], generation);
    await this.#writer.say(execution, { generation, conditions }, {}, signal);
    this.#deps.enqueue(`${namespace}/${name}`);
  }
}

/** How long it has been running, once it does not any more. */
function stopped({ status }: Execution, nowMs: number): ActiveTime {
  return ranFor(activeMs(status ?? {}, nowMs));
}

function nameOf(key: ObjectKey): string {
  return refOf(key).name;
}
