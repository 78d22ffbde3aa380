import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KubernetesObject } from "../../../controller/api/client.ts";
import type { Condition, Execution, ExecutionStatus } from "../../../controller/api/types.ts";
import {
  type Catalog,
  type CompiledPipeline,
  type PipelineEntry,
  type ProcessorEntry,
  Register,
} from "../../../controller/catalog.ts";
import type { ExecutionController } from "../../../controller/execution/controller.ts";
import { createExecutionController } from "../../../controller/execution/reconciler.ts";
import { FileSystemStore } from "../../../controller/payloads/file-system.ts";
import { NamespaceUids } from "../../../controller/payloads/namespaces.ts";
import type { PayloadRef } from "../../../controller/payloads/store.ts";
import type { EventNote } from "../../../controller/runtime/events.ts";
import type { ObjectKey } from "../../../controller/runtime/object-key.ts";
import type { Ports } from "../../../engine/clock.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { type Payload, textPayload } from "../../../engine/payload.ts";
import type { PipelineDefinition, ProcessorFacts, StepDefinition } from "../../../engine/pipeline.ts";
import { compile } from "../../../engine/plan.ts";
import type { ProcessorRequest, ProcessorResponse } from "../../../engine/processor.ts";
import type { Attempt } from "../../../engine/run.ts";
import { silentLogger, turn, VirtualTime } from "../runtime/fakes.ts";
import { FakeApi } from "./fake-api.ts";

/** What the one processor, `work`, does with a call. */
export type Work = (attempt: Attempt, request: ProcessorRequest, signal: AbortSignal) => Promise<ProcessorResponse>;

const facts: ProcessorFacts = {
  name: "work",
  intent: "Transform",
  options: {},
  timeoutMs: 30_000,
  retry: {
    limit: 1,
    backoff: { initialMs: 100, factor: 2, maxMs: 10_000, jitterPercent: 0 },
    codes: ["Unavailable", "ResourceExhausted", "ProcessorCrashed"],
  },
};

/** Steps in a row, each after the one before. */
export function chain(...names: readonly string[]): StepDefinition[] {
  return names.map((name, index) => ({
    name,
    processor: "work",
    dependsOn: index === 0 ? [] : [names[index - 1] ?? ""],
    options: {},
  }));
}

export function compiled(steps: readonly StepDefinition[], more: Partial<CompiledPipeline> = {}): CompiledPipeline {
  const definition: PipelineDefinition = {
    name: "article",
    failurePolicy: "Continue",
    maxParallelSteps: 16,
    parameters: [],
    steps,
  };
  const result = compile(definition, new Map([["work", facts]]));
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  const spec = { steps: [], failurePolicy: "Continue", maxParallelSteps: 16, input: {} } as never;
  const closure = { name: "article", spec, processors: [facts] };
  return { plan: result.plan, closure, checkParameters: () => [], maxInputBytes: 4 << 20, ...more };
}

export const succeed: Work = (attempt) =>
  Promise.resolve({ ok: true, payload: textPayload(`${attempt.stepName} done`), metadata: {} });

/** The real store; a test may hold up or fail what is put into it. */
class StagedStore extends FileSystemStore {
  /** Digests of what was put into it, in order. */
  readonly puts: string[] = [];
  before: (payload: Payload) => Promise<void> = () => Promise.resolve();

  override async put(namespaceUid: string, payload: Payload, signal: AbortSignal): Promise<PayloadRef> {
    this.puts.push(payload.digest);
    await this.before(payload);
    return await super.put(namespaceUid, payload, signal);
  }
}

/** One controller over a fake API, time that the test moves, and one processor whose work the test writes. */
export class Stage implements AsyncDisposable {
  readonly api: FakeApi;
  readonly time: VirtualTime;
  readonly ports: Ports;
  readonly controller: ExecutionController;
  readonly store: StagedStore;
  readonly events: EventNote[] = [];
  /** `<idempotency key>` of every call, in order. */
  readonly calls: string[];
  readonly processors = new Register<ProcessorEntry>();
  readonly pipelines = new Register<PipelineEntry>();
  /** `Broken`: this version of ours does not compile it. */
  readonly revisions = new Map<string, CompiledPipeline | "Broken">();
  work: Work = succeed;
  readonly #cache = new Map<ObjectKey, KubernetesObject>();
  readonly #queued = new Set<ObjectKey>();
  readonly #directory = mkdtempSync(join(tmpdir(), "millrace-stage-"));
  #crashed = false;
  readonly #abort = new AbortController();

  constructor(
    options: { api?: FakeApi; time?: VirtualTime; replica?: string; calls?: string[]; maxRunning?: number } = {},
  ) {
    this.api = options.api ?? new FakeApi();
    this.time = options.time ?? new VirtualTime();
    this.ports = this.time.ports;
    this.calls = options.calls ?? [];
    const writer = options.replica ?? "replica-a";
    this.store = new StagedStore({ root: this.#directory, clock: this.ports.clock, writer });
    this.controller = this.#create(options.replica ?? "replica-a", options.maxRunning);
    this.api.onChange = (name) => this.#deliver(name);
    this.serve();
  }

  /** The processor is loaded. */
  serve(): void {
    const invoke: Work = (attempt, request, signal) => {
      if (this.#crashed) return new Promise(() => {});
      this.calls.push(attempt.idempotencyKey);
      return this.work(attempt, request, signal);
    };
    this.processors.set("team", "work", { serving: { generation: 1, digests: [], facts, invoke } });
  }

  pipeline(pipeline: CompiledPipeline): void {
    this.pipelines.set("team", "article", { uid: "p", generation: 1, state: { ready: true, pipeline } });
  }

  /** Until nothing is queued and nothing more happens by itself. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 25; quiet++) {
      await turn();
      if (this.#crashed) return;
      const keys = [...this.#queued];
      this.#queued.clear();
      if (keys.length > 0) quiet = 0;
      for (const key of keys) await this.#reconcile(key);
    }
  }

  /** Real work on files happens in between: for as long as it takes until `holds`. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await this.settle();
  }

  async advance(ms: number): Promise<void> {
    await this.time.advance(ms);
    await this.settle();
  }

  /** kill -9: nothing of it reaches the API or a processor any more. */
  crash(): void {
    this.#crashed = true;
    this.#abort.abort(new Error("crashed"));
  }

  /** As a sweep would that finds nothing named. */
  async emptyStore(): Promise<void> {
    await rm(this.#directory, { recursive: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#crashed) {
      const stopped = this.controller.stop(0);
      await this.time.advance(60_000);
      await stopped;
    }
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 3 });
  }

  async #reconcile(key: ObjectKey): Promise<void> {
    try {
      await this.controller.reconcile(key, this.#abort.signal);
    } catch {
      if (!this.#crashed) this.#queued.add(key);
    }
  }

  #deliver(name: string): void {
    const key: ObjectKey = `team/${name}`;
    const object = this.api.objects.get(`executions/${name}`);
    if (object === undefined) this.#cache.delete(key);
    else this.#cache.set(key, this.controller.slim(object));
    if (!this.#crashed) this.#queued.add(key);
  }

  #create(replica: string, maxRunning: number | undefined): ExecutionController {
    const clients = this.#client();
    return createExecutionController({
      client: clients,
      ports: this.ports,
      catalog: this.#catalog(),
      payloads: this.store,
      namespaces: new NamespaceUids(clients, this.ports.clock),
      cached: (key) => this.#cache.get(key),
      observe: (object) => void this.#cache.set(`team/${object.metadata.name}`, object),
      enqueue: (key) => void this.#queued.add(key),
      events: { record: (_object, note) => void this.events.push(note) },
      logger: silentLogger,
      replica,
      ...(maxRunning === undefined ? {} : { maxRunning }),
    });
  }

  /** A crashed process's calls never arrive. */
  #client(): FakeApi {
    return new Proxy(this.api, {
      get: (api, property) => {
        const member: unknown = Reflect.get(api, property, api);
        if (typeof member !== "function") return member;
        return (...args: unknown[]) => (this.#crashed ? new Promise(() => {}) : Reflect.apply(member, api, args));
      },
    });
  }

  #catalog(): Catalog {
    return {
      processors: this.processors,
      pipelines: this.pipelines,
      compileInline: () => ({ ready: false, reason: "Cycle", message: "a cycle: a → b → a" }),
      revisions: {
        ensure: (_namespace, pipeline) => {
          this.revisions.set("article-1", pipeline);
          return Promise.resolve("article-1");
        },
        read: (_namespace, name) => {
          const found = this.revisions.get(name);
          if (found === "Broken") {
            const message = `ControllerRevision "${name}" does not compile any more: steps[0].when: …`;
            return Promise.reject(new MillraceError("Internal", message));
          }
          return found === undefined
            ? Promise.reject(new MillraceError("NotFound", `ControllerRevision "${name}" is gone`))
            : Promise.resolve(found);
        },
      },
    };
  }
}

export function phaseOf(execution: Execution): string | undefined {
  return execution.status?.phase;
}

export function condition(status: ExecutionStatus | undefined, type: string): Condition | undefined {
  return status?.conditions?.find((candidate) => candidate.type === type);
}

/** Ends when the test says so. */
export function gate(): { readonly work: Work; open(): void } {
  const opened = Promise.withResolvers<void>();
  const work: Work = async (attempt, request, signal) => {
    const aborted = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    await Promise.race([opened.promise, aborted]);
    return await succeed(attempt, request, signal);
  };
  return { work, open: () => opened.resolve() };
}

/** Steps of 4 KiB of output each: from the 17th on they go to the store, which waits for `held`. */
export function wide(
  stage: Stage,
  count: number,
): { readonly names: string[]; readonly held: PromiseWithResolvers<void> } {
  const held = Promise.withResolvers<void>();
  const names = Array.from({ length: count }, (_, index) => `step-${index}`);
  stage.work = (attempt) =>
    Promise.resolve({ ok: true, payload: textPayload(`${attempt.step}`.padEnd(4096)), metadata: {} });
  stage.store.before = () => held.promise;
  stage.pipeline(compiled(chain(...names)));
  return { names, held };
}

/** What a controller that died a minute ago left behind. */
export function interrupted(stage: Stage): ExecutionStatus {
  return {
    phase: "Running",
    pipelineRevision: "article-1",
    startTime: new Date(stage.ports.clock.now() - 60_000).toISOString(),
    owner: { replica: "dead", epoch: 1 },
    steps: [{ name: "clean", state: "Running", attempts: 1 }],
  };
}
