import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client, KubernetesObject } from "../../controller/api/client.ts";
import { executions, namespaces, pipelines, processors } from "../../controller/api/kinds.ts";
import { runController } from "../../controller/assembly/run.ts";
import { createHttpClient } from "../../controller/runtime/http-client.ts";
import { HttpTransport } from "../../controller/runtime/http-transport.ts";
import { loadKubeConfig } from "../../controller/runtime/kube-config.ts";
import { createLogger } from "../../controller/runtime/logger.ts";
import { systemPorts } from "../../engine/clock.ts";
import type { JsonObject } from "../../engine/payload.ts";
import { ControlPlane } from "./control-plane.ts";

const version = "0.0.0-bench";
const kinds = { Processor: processors, Pipeline: pipelines, Execution: executions } as const;
const never = new AbortController().signal;

export interface Wanted {
  readonly kind: keyof typeof kinds;
  readonly name: string;
  readonly spec: JsonObject;
}

/** A real API server with the kinds installed, for a bench: from KUBEBUILDER_ASSETS, or the cluster of MILLRACE_TEST_KUBECONFIG. */
export class Workbench implements AsyncDisposable {
  readonly kubeconfig: string;
  readonly #opened: AsyncDisposableStack;
  readonly #config: ReturnType<typeof loadKubeConfig>;

  private constructor(kubeconfig: string, opened: AsyncDisposableStack) {
    this.kubeconfig = kubeconfig;
    this.#opened = opened;
    this.#config = loadKubeConfig({}, { kubeconfig });
  }

  static async open(): Promise<Workbench> {
    await using opened = new AsyncDisposableStack();
    const kubeconfig = await kubeconfigOf(opened);
    return new Workbench(kubeconfig, opened.move());
  }

  /** A client with connections of its own. */
  connect(): Client {
    const transport = this.#opened.use(
      new HttpTransport({ config: this.#config, ports: systemPorts, connections: 64 }),
    );
    return createHttpClient({ transport, ports: systemPorts, version });
  }

  /** Closes it before what was opened earlier. */
  defer(close: () => Promise<void>): void {
    this.#opened.defer(close);
  }

  /** The controller in this process, for one namespace. */
  async startController(namespace: string): Promise<void> {
    const payloadsDir = await mkdtemp(join(tmpdir(), "millrace-bench-"));
    this.defer(() => rm(payloadsDir, { recursive: true, force: true }));
    const stop = new AbortController();
    const destination = { write: (line: string) => process.stderr.write(line) };
    const logger = createLogger({ destination, level: "error" });
    const common = { config: this.#config, logger, version, payloadsDir, ports: systemPorts };
    const limits = { replica: "bench", namespaces: [namespace], allowIsolation: [], modules: {}, shutdownGraceMs: 0 };
    const ended = runController({ ...common, ...limits }, stop.signal);
    this.defer(async () => {
      stop.abort();
      await ended;
    });
  }

  /** Tells of every change of an Execution from now on, in order. */
  async follow(
    client: Client,
    namespace: string,
    onEvent: (type: string, object: KubernetesObject) => void,
  ): Promise<void> {
    const stop = new AbortController();
    let { resourceVersion } = await client.list(executions, { namespace }, never);
    // The server ends a watch that reads too slowly for it.
    const read = async () => {
      while (!stop.signal.aborted) {
        const options = { namespace, resourceVersion, timeoutSeconds: 3_600 };
        for await (const event of client.watch(executions, options, stop.signal)) {
          if (event.type === "ERROR") throw new Error(`the watch ended: ${event.status.message}`);
          resourceVersion = "object" in event ? (event.object.metadata.resourceVersion ?? "") : event.resourceVersion;
          if ("object" in event) onEvent(event.type, event.object);
        }
      }
    };
    const reading = read().catch((error: unknown) => {
      if (!stop.signal.aborted) throw error;
    });
    this.defer(async () => {
      stop.abort();
      await reading;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.disposeAsync();
  }
}

/** Gives its name. */
export async function createNamespace(client: Client, prefix: string): Promise<string> {
  const name = `${prefix}-${crypto.randomUUID().slice(0, 8)}`;
  await client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name } }, {}, never);
  return name;
}

export function create(client: Client, namespace: string, { kind, name, spec }: Wanted): Promise<KubernetesObject> {
  const object = { apiVersion: "millrace.dev/v1alpha1", kind, metadata: { name, namespace }, spec };
  return client.create(kinds[kind], object, { namespace }, never);
}

async function kubeconfigOf(opened: AsyncDisposableStack): Promise<string> {
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
