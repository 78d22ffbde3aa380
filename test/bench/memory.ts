// Resident memory of a `millrace controller` of the built package, as users run it, that has run 10,000 Executions to their end
// and then runs 1,000 more, each of which waits for an HTTP processor that does not answer. It has no baseline: the bars are a
// size, and that the size stays. The slope is that of the line through one sample a second, times the window: one minute, or
// MILLRACE_BENCH_MINUTES.
import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ControllerProcess } from "../cluster/controller-process.ts";
import { recordingProcessor } from "../cluster/recording-processor.ts";
import { create, createNamespace, Workbench } from "../cluster/workbench.ts";
import type { Bench } from "./bench.ts";

const finished = 10_000;
const running = 1_000;
const inFlight = 32;
const maxMebibytes = 300;
/** Garbage comes and goes; what leaks goes on after it. */
const maxGrowthMebibytes = 10;
const settlingMs = 20_000;
const sampleMs = 1_000;
const minutes = Number(process.env.MILLRACE_BENCH_MINUTES ?? 1);
const main = join(import.meta.dirname, "../../dist/main.js");

export const bench: Bench = async () => {
  const built = spawnSync(process.execPath, ["scripts/build.ts"], { encoding: "utf8" });
  if (built.status !== 0) throw new Error(`the package could not be built: ${built.stderr}`);
  await using workbench = await Workbench.open();
  await using remote = await recordingProcessor();
  const held = Promise.withResolvers<void>();
  remote.before = () => held.promise;
  const load = await Load.open(workbench, remote.endpoint);
  const args = ["--namespace", load.namespace, "--leader-elect=false"];
  await using controller = await ControllerProcess.start({ kubeconfig: workbench.kubeconfig, args, main });
  await load.reach("Succeeded", "short", finished);
  const afterFinished = await mebibytes(controller.pid, "VmRSS");
  await load.reach("Running", "long", running);
  await delay(settlingMs);
  const samples = await sampled(controller.pid);
  if (load.count("Running") !== running) throw new Error(`only ${load.count("Running")} were running to the end`);
  const [most, growth] = [Math.max(...samples), slope(samples) * samples.length];
  const peak = await mebibytes(controller.pid, "VmHWM");
  return [
    {
      name: "memory/resident",
      ratio: most,
      bar: `<= ${maxMebibytes} MiB`,
      ok: most <= maxMebibytes,
      metrics: { mebibytes: most, afterFinished, peak },
      baseline: {},
    },
    {
      name: "memory/slope",
      ratio: growth,
      bar: `<= ${maxGrowthMebibytes} MiB in ${minutes} min`,
      ok: growth <= maxGrowthMebibytes,
      metrics: { mebibytesPerMinute: growth / minutes, first: samples[0] ?? 0, last: samples.at(-1) ?? 0 },
      baseline: {},
    },
  ];
};

async function sampled(pid: number): Promise<readonly number[]> {
  const samples: number[] = [];
  const count = Math.max(2, Math.round((minutes * 60_000) / sampleMs));
  while (samples.length < count) {
    samples.push(await mebibytes(pid, "VmRSS"));
    await delay(sampleMs);
  }
  return samples;
}

/** Of the least squares' line, per sample. */
function slope(samples: readonly number[]): number {
  const middle = (samples.length - 1) / 2;
  const mean = samples.reduce((sum, sample) => sum + sample, 0) / samples.length;
  let [shared, squares] = [0, 0];
  for (const [at, sample] of samples.entries()) {
    shared += (at - middle) * (sample - mean);
    squares += (at - middle) ** 2;
  }
  return shared / squares;
}

async function mebibytes(pid: number, field: "VmRSS" | "VmHWM"): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const found = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status);
  if (found === null) throw new Error("the controller has ended");
  return Number(found[1]) / 1024;
}

/** The Executions, and how far the watch has seen them go. */
class Load {
  readonly namespace: string;
  readonly #client: ReturnType<Workbench["connect"]>;
  readonly #phases = new Map<string, string>();

  private constructor(client: ReturnType<Workbench["connect"]>, namespace: string) {
    this.#client = client;
    this.namespace = namespace;
  }

  static async open(workbench: Workbench, endpoint: string): Promise<Load> {
    const client = workbench.connect();
    const namespace = await createNamespace(client, "bench-memory");
    const load = new Load(client, namespace);
    await workbench.follow(workbench.connect(), namespace, (_, { metadata, status }) => {
      load.#phases.set(metadata.name, (status as { readonly phase?: string } | undefined)?.phase ?? "Pending");
    });
    const rpc = { protocol: "HTTP", endpoint };
    await create(client, namespace, {
      kind: "Processor",
      name: "upper",
      spec: { local: { builtin: "text.uppercase" } },
    });
    await create(client, namespace, { kind: "Processor", name: "held", spec: { rpc, timeout: "3600s" } });
    for (const [name, processor] of [
      ["short", "upper"],
      ["long", "held"],
    ] as const) {
      await create(client, namespace, { kind: "Pipeline", name, spec: { steps: [{ name: "only", processor }] } });
    }
    return load;
  }

  count(phase: string): number {
    return [...this.#phases.values()].filter((each) => each === phase).length;
  }

  /** Creates as many of the Pipeline, and waits until the watch shows all of them in the phase. */
  async reach(phase: string, pipeline: string, count: number): Promise<void> {
    let next = 0;
    const lane = async () => {
      while (next < count) {
        const spec = { pipeline, input: { text: "hello" } };
        await create(this.#client, this.namespace, { kind: "Execution", name: `${pipeline}-${next++}`, spec });
      }
    };
    await Promise.all(Array.from({ length: inFlight }, lane));
    while (this.count(phase) < count) {
      if (this.count("Failed") > 0) throw new Error(`${this.count("Failed")} Executions failed`);
      await delay(100);
    }
  }
}
