import { executions } from "../../../../controller/api/kinds.ts";
import type { Execution, ExecutionSpec, ExecutionStatus } from "../../../../controller/api/types.ts";
import { validateObject } from "../../../../controller/api/validation.ts";
import { type Catalog, type CompiledPipeline, type ProcessorEntry, Register } from "../../../../controller/catalog.ts";
import type { ExecutionDependencies } from "../../../../controller/execution/controller.ts";
import { readInput } from "../../../../controller/execution/input/input.ts";
import { nextOwner } from "../../../../controller/execution/ownership.ts";
import { type Job, LiveRun, type RunEnd } from "../../../../controller/execution/run/runner.ts";
import type { EventNote } from "../../../../controller/runtime/events.ts";
import { StatusWriter } from "../../../../controller/runtime/status-writer.ts";
import type { ProcessorFacts } from "../../../../engine/pipeline.ts";
import { never } from "../../payloads/store-folder.ts";
import { silentLogger, turn, VirtualTime } from "../../runtime/fakes.ts";
import { FakeApi, pendingStatus } from "../fake-api.ts";
import { type RunFolder, runFolder } from "../run-folder.ts";
import { succeed, type Work, workFacts } from "../stage.ts";

/** Of an Execution, around a status that is to be checked. */
const frame = {
  apiVersion: "millrace.dev/v1alpha1",
  kind: "Execution",
  metadata: { name: "one", namespace: "team" },
  spec: { pipeline: "article" },
};

/** Runs without a reconciler: each starts, or goes on, when the test says so. One processor, `work`, whose code has a digest. */
export class LiveRuns implements AsyncDisposable {
  readonly time: VirtualTime;
  readonly api = new FakeApi();
  readonly folder: RunFolder;
  readonly events: EventNote[] = [];
  /** `<step>[/<item>]#<attempt>` of every call, in order. */
  readonly calls: string[] = [];
  work: Work = succeed;
  readonly #processors = new Register<ProcessorEntry>();
  readonly #writer: StatusWriter;
  readonly #runs: LiveRun[] = [];

  private constructor(time: VirtualTime, folder: RunFolder) {
    this.time = time;
    this.folder = folder;
    this.#writer = new StatusWriter({
      client: this.api,
      resource: executions,
      ports: this.time.ports,
      logger: silentLogger,
    });
    this.serve();
  }

  static async begin(): Promise<LiveRuns> {
    const time = new VirtualTime();
    return new LiveRuns(time, await runFolder(time.ports.clock));
  }

  serve(special: Partial<ProcessorFacts> = {}, digests: readonly string[] = ["sha256:code"]): void {
    const invoke: Work = (attempt, request, signal) => {
      const item = attempt.item === undefined ? "" : `/${attempt.item}`;
      this.calls.push(`${attempt.stepName}${item}#${attempt.attempt}`);
      return this.work(attempt, request, signal);
    };
    const serving = { generation: 1, digests, called: "process", facts: { ...workFacts, ...special }, invoke };
    this.#processors.set("team", "work", { serving });
  }

  /** Puts the Execution and runs it. */
  async start(pipeline: CompiledPipeline, spec: Partial<ExecutionSpec> = {}, name = "one"): Promise<LiveRun> {
    this.api.put(name, { pipeline: "article", ...spec }, { ...pendingStatus, pipelineRevision: "article-1" });
    return await this.goOn(pipeline, name);
  }

  /** As a run of what is recorded, in another process. */
  async goOn(pipeline: CompiledPipeline, name = "one", more: Partial<Job> = {}): Promise<LiveRun> {
    const execution = this.execution(name);
    const payloads = this.folder.another();
    const input = await readInput(execution, pipeline, { client: this.api, payloads, revisions: noRevisions }, never);
    const owner = nextOwner(execution.status?.owner, "replica-a");
    if (owner === undefined) throw new Error("taken over too often");
    const recorded = execution.status?.steps ?? [];
    const job = { execution, recorded, payloads, pipeline, owner, pipelineRevision: "article-1", ...input, ...more };
    const run = new LiveRun(job, this.#dependencies(), this.#writer);
    this.#runs.push(run);
    return run;
  }

  /** To its end; time goes by as it needs. */
  async finish(run: LiveRun): Promise<RunEnd> {
    let end: RunEnd | undefined;
    void run.done.then((done) => {
      end = done;
    });
    while (end === undefined) await this.advance(10);
    return end;
  }

  /** Time goes by when the store has nothing more to do. */
  async advance(ms: number): Promise<void> {
    await this.time.advance(ms);
    for (let quiet = 0; quiet < 5; quiet++) {
      await turn();
      if (this.folder.store.isBusy) quiet = 0;
    }
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await turn();
  }

  execution(name = "one"): Execution {
    return this.api.execution(name);
  }

  status(name = "one"): ExecutionStatus {
    return this.execution(name).status ?? {};
  }

  /** Take-overs are not what a test is about that crashes as often as it likes. */
  forgive(name = "one"): void {
    const { owner, ...status } = this.status(name);
    if (owner === undefined) return;
    const { takeovers: _takeovers, ...forgiven } = owner;
    this.api.overwrite(name, { ...status, owner: forgiven });
  }

  /** The process dies. */
  async crash(run: LiveRun): Promise<void> {
    run.abandon();
    await run.done;
  }

  /** What is stored under a digest, as text. */
  async text(ref: string | undefined): Promise<string> {
    const stored = await this.folder.payloads.find(ref ?? "", "text/plain", never);
    return Buffer.from((await stored?.bytes(never)) ?? []).toString();
  }

  /** Also checks that an API server would have taken every status that was written. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const run of this.#runs) await this.crash(run);
    await this.folder[Symbol.asyncDispose]();
    for (const status of this.api.statuses) {
      const object = { ...frame, status };
      const { problems } = validateObject(object);
      if (problems.length > 0) throw new Error(JSON.stringify({ problems, status }));
    }
  }

  #dependencies(): ExecutionDependencies {
    return {
      ports: this.time.ports,
      catalog: { processors: this.#processors } as unknown as Catalog,
      events: { record: (_object: unknown, note: EventNote) => void this.events.push(note) },
      logger: silentLogger,
    } as unknown as ExecutionDependencies;
  }
}

/** Runs here have one revision, which nobody reads. */
const noRevisions = { read: () => Promise.reject(new Error("no revision is to be read")) };
