import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client, KubernetesObject } from "../../controller/api/client.ts";
import { executions, namespaces, pipelines, processors } from "../../controller/api/kinds.ts";
import type { Execution } from "../../controller/api/types.ts";
import { runController } from "../../controller/assembly/run.ts";
import { createHttpClient } from "../../controller/runtime/http-client.ts";
import { HttpTransport } from "../../controller/runtime/http-transport.ts";
import { loadKubeConfig } from "../../controller/runtime/kube-config.ts";
import { createLogger } from "../../controller/runtime/logger.ts";
import { systemPorts } from "../../engine/clock.ts";
import type { JsonObject } from "../../engine/payload.ts";
import { ControlPlane } from "./control-plane.ts";

const version = "0.0.0-bench";
const apiVersion = "millrace.dev/v1alpha1";
const never = new AbortController().signal;
const stepNames = ["a", "b", "c", "d", "e"];

/** One of the two who run Executions: Millrace, or a reconciler by hand; each in a namespace of its own. */
export interface Contestant {
  /** Creates one Execution and resolves, with the time in milliseconds, when a watch has shown that it succeeded. */
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
 * besides. From KUBEBUILDER_ASSETS, or the cluster of MILLRACE_TEST_KUBECONFIG.
 */
export async function openContest(): Promise<Contest> {
  await using opened = new AsyncDisposableStack();
  const config = loadKubeConfig({}, { kubeconfig: await kubeconfig(opened) });
  const connect = () => {
    const transport = opened.use(new HttpTransport({ config, ports: systemPorts, connections: 64 }));
    return createHttpClient({ transport, ports: systemPorts, version });
  };
  const client = connect();
  const suffix = crypto.randomUUID().slice(0, 8);
  const [ourNamespace, theirNamespace] = [`bench-ours-${suffix}`, `bench-hand-${suffix}`];
  for (const name of [ourNamespace, theirNamespace]) {
    await client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name } }, {}, never);
  }
  await startController(config, ourNamespace, opened);
  const ours = await watched(connect(), ourNamespace, opened);
  await prepare(client, ourNamespace);
  await ours.run();
  const { items } = await client.list(executions, { namespace: ourNamespace }, never);
  await reconcileByHand(connect(), theirNamespace, items[0] as Execution, opened);
  const byHand = await watched(connect(), theirNamespace, opened);
  const kept = opened.move();
  return { ours, byHand, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

async function kubeconfig(opened: AsyncDisposableStack): Promise<string> {
  const { MILLRACE_TEST_KUBECONFIG: given, KUBEBUILDER_ASSETS: assets } = process.env;
  if (given !== undefined && given !== "") return given;
  if (assets === undefined || assets === "") {
    throw new Error(
      "set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl, or MILLRACE_TEST_KUBECONFIG",
    );
  }
  const plane = opened.use(await ControlPlane.start({ assets }));
  const crds = join(import.meta.dirname, "../../crds");
  await plane.kubectl(["apply", "--server-side", "--filename", crds]);
  await plane.kubectl(["wait", "--for=condition=Established", "--timeout=60s", "--filename", crds]);
  return plane.kubeconfig;
}

async function startController(
  config: ReturnType<typeof loadKubeConfig>,
  namespace: string,
  opened: AsyncDisposableStack,
): Promise<void> {
  const payloadsDir = await mkdtemp(join(tmpdir(), "millrace-bench-"));
  opened.defer(() => rm(payloadsDir, { recursive: true, force: true }));
  const stop = new AbortController();
  const logger = createLogger({ destination: { write: (line: string) => process.stderr.write(line) }, level: "error" });
  const common = { config, logger, version, payloadsDir, ports: systemPorts, allowIsolation: [], shutdownGraceMs: 0 };
  const ended = runController({ ...common, replica: "bench", namespaces: [namespace] }, stop.signal);
  opened.defer(async () => {
    stop.abort();
    await ended;
  });
}

async function prepare(client: Client, namespace: string): Promise<void> {
  const steps = stepNames.map((name, index) => ({
    name,
    processor: "upper",
    ...(index === 0 ? {} : { dependsOn: [stepNames[index - 1] ?? ""] }),
  }));
  const upper = { local: { builtin: "text.uppercase" } };
  await create(client, processors, namespace, { kind: "Processor", name: "upper", spec: upper });
  await create(client, pipelines, namespace, { kind: "Pipeline", name: "five", spec: { steps } });
}

function create(
  client: Client,
  resource: Parameters<Client["create"]>[0],
  namespace: string,
  { kind, name, spec }: { readonly kind: string; readonly name: string; readonly spec: JsonObject },
): Promise<KubernetesObject> {
  return client.create(resource, { apiVersion, kind, metadata: { name, namespace }, spec }, { namespace }, never);
}

/** Creates and watches; the same for both. */
async function watched(client: Client, namespace: string, opened: AsyncDisposableStack): Promise<Contestant> {
  const waiting = new Map<string, () => void>();
  const counts = { writes: 0, succeeded: 0 };
  await follow(client, namespace, opened, (type, object) => {
    if (type !== "MODIFIED") return;
    counts.writes++;
    if ((object as Execution).status?.phase !== "Succeeded") return;
    counts.succeeded++;
    waiting.get(object.metadata.name)?.();
    waiting.delete(object.metadata.name);
  });
  let next = 0;
  return {
    counts,
    async run() {
      const name = `run-${next++}`;
      const done = new Promise<void>((resolve) => waiting.set(name, resolve));
      const startedMs = performance.now();
      const spec = { pipeline: "five", input: { text: "hello" } };
      await create(client, executions, namespace, { kind: "Execution", name, spec });
      await done;
      return performance.now() - startedMs;
    },
  };
}

/** The whole of it: an object comes in, its status goes out. */
async function reconcileByHand(
  client: Client,
  namespace: string,
  like: Execution,
  opened: AsyncDisposableStack,
): Promise<void> {
  const { status } = like;
  await follow(client, namespace, opened, (type, object) => {
    if (type !== "ADDED") return;
    const { name, resourceVersion = "" } = object.metadata;
    const metadata = { name, namespace, resourceVersion };
    void client.update(executions, { apiVersion, kind: "Execution", metadata, status }, "status", never);
  });
}

async function follow(
  client: Client,
  namespace: string,
  opened: AsyncDisposableStack,
  onEvent: (type: string, object: KubernetesObject) => void,
): Promise<void> {
  const stop = new AbortController();
  const { resourceVersion } = await client.list(executions, { namespace }, never);
  const options = { namespace, resourceVersion, timeoutSeconds: 3_600 };
  const read = async () => {
    for await (const event of client.watch(executions, options, stop.signal)) {
      if ("object" in event) onEvent(event.type, event.object);
    }
  };
  const reading = read().catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
  opened.defer(async () => {
    stop.abort();
    await reading;
  });
}
