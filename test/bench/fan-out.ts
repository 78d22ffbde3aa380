// One Execution whose step fans out over 10,000 items, on a real API server, with the controller in this process. Baseline: ten
// Executions with 1,000 items each, one after another, of the same Pipeline: the same items in the same number at once, so that
// only what grows with the size of a fan-out can make the one slower. Both are timed from the create to the watch event that
// shows the end. The status that the watch shows is measured, and its writes are counted: a run of d milliseconds may write its
// progress floor(d / 250) times, and its outcome.
import { setTimeout as delay } from "node:timers/promises";
import type { Execution } from "../../controller/api/types.ts";
import { create, createNamespace, Workbench } from "../cluster/workbench.ts";
import { type Bench, compare, type Row } from "./bench.ts";

const items = 10_000;
const parts = 10;
const maxRatio = 1.1;
const maxStatusBytes = 512 * 1024;
const reportIntervalMs = 250;

/** What the watch has shown of one Execution. */
interface Watched {
  readonly ended: PromiseWithResolvers<Execution>;
  writes: number;
  statusBytes: number;
}

/** The worst of all runs. */
interface Worst {
  statusBytes: number;
  /** More than the interval allows; at most 0 where it is kept. */
  excessWrites: number;
  writes: number;
}

export const bench: Bench = async () => {
  await using workbench = await Workbench.open();
  const runner = await Runner.open(workbench);
  await runner.warm();
  const { oursUs, baselineUs } = await compare({
    units: items,
    warmUpRounds: 2,
    rounds: 7,
    ours: () => runner.run(items),
    baseline: async () => {
      let done = 0;
      for (let part = 0; part < parts; part++) done += await runner.run(items / parts);
      return done;
    },
  });
  // One of items that take a few milliseconds each, so that there is progress to report.
  if ((await runner.run(items, "slow")) !== items) throw new Error("the bench is unfair: items are missing");
  if (runner.worst.writes < 2) throw new Error("the bench is unfair: no progress was written");
  return [timeRow(oursUs, baselineUs), ...rowsOf(runner.worst)];
};

function timeRow(oursUs: number, baselineUs: number): Row {
  const ratio = oursUs / baselineUs;
  return {
    name: "fan-out/time",
    ratio,
    bar: `<= ${maxRatio}`,
    ok: ratio <= maxRatio,
    metrics: { itemsPerSecond: 1e6 / oursUs },
    baseline: { itemsPerSecond: 1e6 / baselineUs },
  };
}

function rowsOf({ statusBytes, excessWrites, writes }: Worst): readonly Row[] {
  return [
    {
      name: "fan-out/status",
      ratio: statusBytes / maxStatusBytes,
      bar: "<= 512 KiB",
      ok: statusBytes <= maxStatusBytes,
      metrics: { bytes: statusBytes },
      baseline: { bytes: maxStatusBytes },
    },
    {
      name: "fan-out/writes",
      ratio: excessWrites,
      bar: "<= 0 more than one in 250 ms",
      ok: excessWrites <= 0,
      metrics: { mostWrites: writes },
      baseline: {},
    },
  ];
}

class Runner {
  readonly worst: Worst = { statusBytes: 0, excessWrites: Number.NEGATIVE_INFINITY, writes: 0 };
  readonly #watched = new Map<string, Watched>();
  readonly #client: ReturnType<Workbench["connect"]>;
  readonly #namespace: string;
  #next = 0;

  private constructor(client: ReturnType<Workbench["connect"]>, namespace: string) {
    this.#client = client;
    this.#namespace = namespace;
  }

  static async open(workbench: Workbench): Promise<Runner> {
    const client = workbench.connect();
    const namespace = await createNamespace(client, "bench-fan-out");
    const runner = new Runner(client, namespace);
    await workbench.startController(namespace);
    await workbench.follow(workbench.connect(), namespace, (type, object) => {
      if (type === "MODIFIED") runner.#saw(object as Execution);
    });
    await create(client, namespace, { kind: "Processor", name: "echo", spec: { local: { builtin: "echo" } } });
    const sleep = { local: { builtin: "test.sleep" }, options: { ms: 5 } };
    await create(client, namespace, { kind: "Processor", name: "sleep", spec: sleep });
    for (const [name, processor] of Object.entries({ fan: "echo", slow: "sleep" })) {
      const spec = { maxParallelSteps: 64, steps: [{ name: "each", processor, forEach: "input" }] };
      await create(client, namespace, { kind: "Pipeline", name, spec });
    }
    return runner;
  }

  /** Until the Pipeline is ready and the code is warm. */
  async warm(): Promise<void> {
    await this.run(1);
    await delay(reportIntervalMs);
  }

  /** Gives the items that succeeded. */
  async run(count: number, pipeline = "fan"): Promise<number> {
    const name = `run-${this.#next++}`;
    const watched: Watched = { ended: Promise.withResolvers(), writes: 0, statusBytes: 0 };
    this.#watched.set(name, watched);
    const input = { json: Array.from({ length: count }, (_, index) => index) };
    const startedMs = performance.now();
    const spec = { pipeline, input };
    await create(this.#client, this.#namespace, { kind: "Execution", name, spec });
    const { status } = await watched.ended.promise;
    this.#count(watched, performance.now() - startedMs);
    this.#watched.delete(name);
    if (status?.phase !== "Succeeded") throw new Error(`${name} ended so: ${JSON.stringify(status?.conditions)}`);
    return status.steps?.[0]?.items?.succeeded ?? 0;
  }

  #saw(execution: Execution): void {
    const watched = this.#watched.get(execution.metadata.name);
    if (watched === undefined) return;
    watched.writes++;
    watched.statusBytes = Math.max(watched.statusBytes, Buffer.byteLength(JSON.stringify(execution.status)));
    const phase = execution.status?.phase ?? "Pending";
    if (["Succeeded", "Failed", "Cancelled"].includes(phase)) watched.ended.resolve(execution);
  }

  #count({ writes, statusBytes }: Watched, tookMs: number): void {
    const allowed = Math.floor(tookMs / reportIntervalMs) + 1;
    this.worst.statusBytes = Math.max(this.worst.statusBytes, statusBytes);
    this.worst.excessWrites = Math.max(this.worst.excessWrites, writes - allowed);
    this.worst.writes = Math.max(this.worst.writes, writes);
  }
}
