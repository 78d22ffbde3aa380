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
import { keyFor, keyOf, type ObjectKey } from "../../../controller/runtime/object-key.ts";
import type { Ports } from "../../../engine/clock.ts";
import { compile } from "../../../engine/compile/compile.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { type Payload, textPayload } from "../../../engine/payload.ts";
import type { PipelineDefinition, ProcessorFacts, StepDefinition } from "../../../engine/pipeline.ts";
import type { ProcessorRequest, ProcessorResponse } from "../../../engine/processor.ts";
import type { Attempt } from "../../../engine/run/run-options.ts";
import { silentLogger, turn, VirtualTime } from "../runtime/fakes.ts";
import { FakeApi } from "./fake-api.ts";

/** What the one processor, `work`, does with a call. */
export type Work = (attempt: Attempt, request: ProcessorRequest, signal: AbortSignal) => Promise<ProcessorResponse>;

export const workFacts: ProcessorFacts = {
  name: "work",
  intent: "Transform",
  lane: "Local",
  delivery: "AtLeastOnce",
  budgetPercent: 20,
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

/** What a test's Pipeline and its processor have besides their defaults. */
export interface Special {
  readonly definition?: Partial<PipelineDefinition>;
  readonly facts?: Partial<ProcessorFacts>;
}

export function compiled(
  steps: readonly StepDefinition[],
  more: Partial<CompiledPipeline> = {},
  special: Special = {},
): CompiledPipeline {
  const definition: PipelineDefinition = {
    name: "article",
    strategy: "WorkQueue",
    failurePolicy: "Continue",
    maxParallelSteps: 16,
    maxInputBytes: 4 << 20,
    parameters: [],
    steps,
    finally: [],
    finallyTimeoutMs: 60_000,
    outputs: [],
    ...special.definition,
  };
  const processors = new Map([["work", { ...workFacts, ...special.facts }]]);
  const result = compile(definition, { processors, pipelines: new Map() });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  const spec = { steps: [], failurePolicy: "Continue", maxParallelSteps: 16, input: {} } as never;
  const closure = { name: "article", spec, processors: [workFacts], pipelines: [] };
  return {
    plan: result.plan,
    closure,
    processors: ["work"],
    checkParameters: () => [],
    maxInputBytes: 4 << 20,
    ...more,
  };
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
  /** Names are unique here among all namespaces. */
  readonly #keys = new Map<string, ObjectKey>();
  readonly #cache = new Map<ObjectKey, KubernetesObject>();
  readonly #queued = new Set<ObjectKey>();
  readonly #directory = mkdtempSync(join(tmpdir(), "millrace-stage-"));
  #begun = false;
  #crashed = false;
  readonly #abort = new AbortController();

  constructor(
    options: {
      api?: FakeApi;
      time?: VirtualTime;
      replica?: string;
      calls?: string[];
      maxRunning?: number;
      maxPerNamespace?: number;
    } = {},
  ) {
    this.api = options.api ?? new FakeApi();
    this.time = options.time ?? new VirtualTime();
    this.ports = this.time.ports;
    this.calls = options.calls ?? [];
    const writer = options.replica ?? "replica-a";
    this.store = new StagedStore({ root: this.#directory, clock: this.ports.clock, writer });
    this.controller = this.#create(writer, options);
    this.api.now = () => this.ports.clock.now();
    this.api.onChange = (name) => this.#deliver(name);
    for (const { metadata } of this.api.executions()) this.#deliver(metadata.name);
    this.serve();
  }

  /** The processor is loaded: a version of its code, if its code has a digest. */
  serve(version: { readonly digests?: readonly string[]; readonly facts?: Partial<ProcessorFacts> } = {}): void {
    const invoke: Work = (attempt, request, signal) => {
      if (this.#crashed) return new Promise(() => {});
      this.calls.push(attempt.idempotencyKey);
      return this.work(attempt, request, signal);
    };
    const { digests = [] } = version;
    const serving = { generation: 1, digests, called: "process", facts: { ...workFacts, ...version.facts }, invoke };
    for (const namespace of ["team", "other"]) this.processors.set(namespace, "work", { serving });
  }

  pipeline(pipeline: CompiledPipeline, namespace = "team", name = "article"): void {
    this.pipelines.set(namespace, name, { uid: "p", generation: 1, state: { ready: true, pipeline } });
  }

  /** Until nothing is queued and nothing more happens by itself. */
  async settle(): Promise<void> {
    if (!this.#begun) this.controller.begin();
    this.#begun = true;
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

  /** Lets what is queued happen, then time pass in small pieces, and all that it brings. */
  async pass(ms: number): Promise<void> {
    await this.settle();
    for (let left = ms; left > 0; left -= 250) await this.advance(Math.min(250, left));
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
    const object = this.api.objects.get(`executions/${name}`);
    const key = this.#keys.get(name) ?? keyFor({ namespace: object?.metadata.namespace ?? "team", name });
    this.#keys.set(name, key);
    if (object === undefined) this.#cache.delete(key);
    else this.#cache.set(key, this.controller.slim(object));
    if (!this.#crashed) this.#queued.add(key);
  }

  #create(
    replica: string,
    { maxRunning, maxPerNamespace }: { readonly maxRunning?: number; readonly maxPerNamespace?: number },
  ): ExecutionController {
    const clients = this.#client();
    return createExecutionController({
      client: clients,
      ports: this.ports,
      catalog: this.#catalog(),
      payloads: this.store,
      namespaces: new NamespaceUids(clients, this.ports.clock),
      cached: (key) => this.#cache.get(key),
      list: () => this.#cache.values(),
      ofPipeline: (pipeline) => [...this.#cache.values()].filter((object) => pipelineOf(object) === pipeline),
      recordedCounts: (pipeline) => this.api.countsOf(pipeline),
      observe: (object) => void this.#cache.set(keyOf(object), object),
      enqueue: (key) => void this.#queued.add(key),
      events: { record: (_object, note) => void this.events.push(note) },
      logger: silentLogger,
      replica,
      ...(maxRunning === undefined ? {} : { maxRunning }),
      ...(maxPerNamespace === undefined ? {} : { maxPerNamespace }),
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
      compileInline: () => ({
        ready: false,
        reason: "Cycle",
        message: "a cycle: a → b → a",
        names: { processors: [], pipelines: [] },
      }),
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

function pipelineOf(object: KubernetesObject): ObjectKey {
  const { metadata, spec } = object as Execution;
  return keyFor({ namespace: metadata.namespace ?? "", name: spec.pipeline ?? "" });
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
