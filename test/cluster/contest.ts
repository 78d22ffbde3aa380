import type { Client } from "../../controller/api/client.ts";
import { executions } from "../../controller/api/kinds.ts";
import type { Execution } from "../../controller/api/types.ts";
import { create, createNamespace, Workbench } from "./workbench.ts";

const apiVersion = "millrace.dev/v1alpha1";
const never = new AbortController().signal;
const stepNames = ["a", "b", "c", "d", "e"];

/** One of the two who run Executions: Millrace, or a reconciler by hand; each in a namespace of its own. */
export interface Contestant {
  /** Creates one Execution and resolves, with the time in milliseconds, when a watch has shown that it succeeded. Rejects when it did not. */
  run(): Promise<number>;
  /** Status writes that the watch has shown, and Executions that succeeded. */
  readonly counts: { writes: number; succeeded: number };
}

export interface Contest extends AsyncDisposable {
  readonly ours: Contestant;
  readonly byHand: Contestant;
}

/**
 * A real API server, the controller, and a reconciler written by hand (watch, one PUT of a status as large as ours,
 * nothing else), all but the server in this process, over the same kind of client: what differs is what a controller does
 * besides.
 */
export async function openContest(): Promise<Contest> {
  await using opened = new AsyncDisposableStack();
  const bench = opened.use(await Workbench.open());
  const client = bench.connect();
  const ourNamespace = await createNamespace(client, "bench-ours");
  const theirNamespace = await createNamespace(client, "bench-hand");
  await bench.startController(ourNamespace);
  const ours = await watched(bench, ourNamespace);
  await prepare(client, ourNamespace);
  await ours.run();
  const { items } = await client.list(executions, { namespace: ourNamespace }, never);
  await reconcileByHand(bench, theirNamespace, items[0] as Execution);
  const byHand = await watched(bench, theirNamespace);
  const kept = opened.move();
  return { ours, byHand, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

async function prepare(client: Client, namespace: string): Promise<void> {
  const steps = stepNames.map((name, index) => ({
    name,
    processor: "upper",
    ...(index === 0 ? {} : { dependsOn: [stepNames[index - 1] ?? ""] }),
  }));
  const upper = { local: { builtin: "text.uppercase" } };
  await create(client, namespace, { kind: "Processor", name: "upper", spec: upper });
  await create(client, namespace, { kind: "Pipeline", name: "five", spec: { steps } });
}

/** Creates and watches; the same for both. */
async function watched(bench: Workbench, namespace: string): Promise<Contestant> {
  const client = bench.connect();
  const waiting = new Map<string, PromiseWithResolvers<void>>();
  const counts = { writes: 0, succeeded: 0 };
  await bench.follow(client, namespace, (type, object) => {
    if (type !== "MODIFIED") return;
    counts.writes++;
    const { metadata, status } = object as Execution;
    const waiter = waiting.get(metadata.name);
    if (status?.phase === "Succeeded") {
      counts.succeeded++;
      waiter?.resolve();
    } else if (status?.phase === "Failed" || status?.phase === "Cancelled") {
      waiter?.reject(new Error(`${metadata.name} ended ${status.phase}: ${JSON.stringify(status.conditions)}`));
    }
  });
  let next = 0;
  return {
    counts,
    async run() {
      const name = `run-${next++}`;
      const done = Promise.withResolvers<void>();
      waiting.set(name, done);
      const startedMs = performance.now();
      const spec = { pipeline: "five", input: { text: "hello" } };
      await create(client, namespace, { kind: "Execution", name, spec });
      await done.promise;
      waiting.delete(name);
      return performance.now() - startedMs;
    },
  };
}

/** The whole of it: an object comes in, its status goes out. */
async function reconcileByHand(bench: Workbench, namespace: string, { status }: Execution): Promise<void> {
  const client = bench.connect();
  /** The watch may show a write before its answer is here. */
  const unanswered = new Set<Promise<void>>();
  bench.defer(async () => void (await Promise.all(unanswered)));
  await bench.follow(client, namespace, (type, object) => {
    if (type !== "ADDED") return;
    const { name, resourceVersion = "" } = object.metadata;
    const metadata = { name, namespace, resourceVersion };
    const update = client.update(executions, { apiVersion, kind: "Execution", metadata, status }, "status", never);
    const answered = update.then(() => void unanswered.delete(answered));
    unanswered.add(answered);
  });
}
