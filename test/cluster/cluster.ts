import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { leaveOut } from "../support/left-out.ts";
import { ControlPlane, type ControlPlaneOptions } from "./control-plane.ts";
import { createKubectl, type Kubectl } from "./kubectl.ts";

/** A real Kubernetes with Millrace's three kinds installed, shared by all suites of a run. */
export interface Cluster {
  /** Path of an administrator's kubeconfig. */
  readonly kubeconfig: string;
  /** The API server's URL. */
  readonly server: string;
  readonly kubectl: Kubectl;
  /** A new namespace, for one test; deleted when the suite ends. Gives its name. */
  createNamespace(): Promise<string>;
}

type Connection = Omit<Cluster, "createNamespace"> & AsyncDisposable;

const crds = ["processor", "pipeline", "execution"].map((name) => join(import.meta.dirname, `../../crds/${name}.yaml`));
const kinds = ["processors", "pipelines", "executions"].map((plural) => `crd/${plural}.millrace.dev`);
const howToGetOne =
  "set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl (`setup-envtest use` fetches one), " +
  "or MILLRACE_TEST_KUBECONFIG to the kubeconfig of a cluster that tests may write to";
const startTimeoutMs = 180_000;
const discoveryTimeoutMs = 60_000;

/** The one control plane of this run: started by the first suite that needs it, closed after the last. */
const shared: { connection?: Promise<Connection> } = {};

/**
 * Gives the suite (call it in `describe`) a real API server with the CRDs of `crds/`: the cluster of
 * MILLRACE_TEST_KUBECONFIG, or a control plane of its own from KUBEBUILDER_ASSETS. Without either the suite is left out
 * with a line that says so, or fails where MILLRACE_REQUIRE names `cluster`. To be used inside hooks and tests only.
 */
export function useCluster(): Cluster {
  const suite: { connection?: Connection; readonly namespaces: string[] } = { namespaces: [] };
  const connection = () => {
    if (suite.connection === undefined) throw new Error("the cluster is there in hooks and tests only");
    return suite.connection;
  };
  before("start the API server", async function () {
    this.timeout(startTimeoutMs);
    if (isLeftOut(this, process.env.MILLRACE_TEST_KUBECONFIG ?? process.env.KUBEBUILDER_ASSETS)) return;
    shared.connection ??= openShared(this);
    suite.connection = await shared.connection;
  });
  after("delete the namespaces", async () => {
    if (suite.namespaces.length === 0) return;
    await connection().kubectl(["delete", "namespace", "--wait=false", ...suite.namespaces]);
  });
  return {
    get kubeconfig() {
      return connection().kubeconfig;
    },
    get server() {
      return connection().server;
    },
    kubectl: (args, options) => connection().kubectl(args, options),
    async createNamespace() {
      const name = `test-${crypto.randomUUID().slice(0, 13)}`;
      await connection().kubectl(["create", "namespace", name]);
      suite.namespaces.push(name);
      return name;
    },
  };
}

/**
 * Gives the suite (call it in `describe`) a control plane of its own with the CRDs installed, whose parts it may stop and
 * start. From KUBEBUILDER_ASSETS only; left out as {@link useCluster} says.
 */
export function useControlPlane(args: ControlPlaneOptions["args"] = {}): { readonly plane: ControlPlane } {
  const suite: { plane?: ControlPlane } = {};
  before("start a control plane", async function () {
    this.timeout(startTimeoutMs);
    const assets = process.env.KUBEBUILDER_ASSETS;
    if (isLeftOut(this, assets) || assets === undefined) return;
    suite.plane = await ControlPlane.start({ assets, args });
    await installKinds(suite.plane.kubectl);
  });
  after("stop the control plane", async function () {
    this.timeout(startTimeoutMs);
    await suite.plane?.[Symbol.asyncDispose]();
  });
  return {
    get plane() {
      if (suite.plane === undefined) throw new Error("the control plane is there in hooks and tests only");
      return suite.plane;
    },
  };
}

/** Skips the suite, or fails it where a cluster is required, unless there is a way to one. */
function isLeftOut(context: Mocha.Context, source: string | undefined): boolean {
  if (source !== undefined && source !== "") return false;
  return leaveOut(context, "cluster", `needs a Kubernetes API server: ${howToGetOne}`);
}

function openShared(context: Mocha.Context): Promise<Connection> {
  const opened = open();
  rootOf(context.test?.parent).afterAll("stop the API server", async function () {
    this.timeout(startTimeoutMs);
    // A failed start was told by the suite that asked for it.
    const connection = await opened.catch(() => undefined);
    await connection?.[Symbol.asyncDispose]();
  });
  return opened;
}

function rootOf(suite: Mocha.Suite | undefined): Mocha.Suite {
  let root = suite;
  while (root?.parent !== undefined) root = root.parent;
  if (root === undefined) throw new Error("no suite: call useCluster inside describe");
  return root;
}

async function open(): Promise<Connection> {
  const kubeconfig = process.env.MILLRACE_TEST_KUBECONFIG;
  const assets = process.env.KUBEBUILDER_ASSETS;
  const connection =
    kubeconfig === undefined || kubeconfig === ""
      ? await ControlPlane.start({ assets: assets ?? "" })
      : await connect(kubeconfig, assets);
  try {
    await installKinds(connection.kubectl);
    return connection;
  } catch (error) {
    await connection[Symbol.asyncDispose]();
    throw error;
  }
}

async function connect(kubeconfig: string, assets: string | undefined): Promise<Connection> {
  const cache = await mkdtemp(join(tmpdir(), "millrace-kubectl-"));
  const program = assets === undefined || assets === "" ? "kubectl" : join(assets, "kubectl");
  const kubectl = createKubectl(program, kubeconfig, cache);
  const server = await kubectl(["config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}"]);
  return {
    kubeconfig,
    server,
    kubectl,
    [Symbol.asyncDispose]: () => rm(cache, { recursive: true, force: true }),
  };
}

async function installKinds(kubectl: Kubectl): Promise<void> {
  await kubectl(["apply", "--server-side", "--force-conflicts", ...crds.map((file) => `--filename=${file}`)]);
  await kubectl(["wait", "--for=condition=Established", "--timeout=60s", ...kinds]);
  // Discovery, from which kubectl takes names and categories, follows a moment later.
  const deadline = performance.now() + discoveryTimeoutMs;
  while (performance.now() < deadline) {
    const listed = await kubectl(["get", "millrace", "--all-namespaces", "--output=name"]).catch(() => undefined);
    if (listed !== undefined) return;
  }
  throw new Error(`the API server did not list the kinds within ${discoveryTimeoutMs} ms of their being established`);
}
