import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { KubeConfigError, loadKubeConfig, namespaceOf } from "../../../controller/runtime/kube-config.ts";

describe("finding the cluster", () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "millrace-kubeconfig-"));
  });

  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  interface Parts {
    readonly server?: string;
    readonly current?: string;
    readonly user?: Readonly<Record<string, unknown>>;
  }

  async function kubeconfig(file: string, name: string, parts: Parts = {}): Promise<string> {
    const { server = `https://${name}:6443`, current = name, user = { token: name } } = parts;
    const path = join(directory, file);
    const config = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name, cluster: { server, "certificate-authority": "ca.crt" } }],
      users: [{ name, user }],
      contexts: [{ name, context: { cluster: name, user: name, namespace: `${name}-ns` } }],
      "current-context": current,
    };
    await writeFile(path, JSON.stringify(config));
    return path;
  }

  const serverOf = (...args: Parameters<typeof loadKubeConfig>) => loadKubeConfig(...args).getCurrentCluster()?.server;

  const refusal = (...args: Parameters<typeof loadKubeConfig>): string => {
    try {
      loadKubeConfig(...args);
    } catch (error) {
      expect(error).to.be.instanceOf(KubeConfigError);
      return (error as Error).message;
    }
    throw new Error("it was expected to be refused");
  };

  it("takes the flag's file before KUBECONFIG's, those before the pod's account, that before the home folder", async () => {
    const flag = await kubeconfig("flag", "flag");
    const env = await kubeconfig("env", "env");
    const account = join(directory, "account");
    await mkdir(account);
    await writeFile(join(account, "token"), "t");
    await writeFile(join(account, "namespace"), "team\n");
    await mkdir(join(directory, ".kube"));
    await kubeconfig(".kube/config", "home");
    const pod = { HOME: directory, KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "443" };
    const all = { ...pod, KUBECONFIG: env };
    expect(serverOf(all, { kubeconfig: flag }, account)).to.equal("https://flag:6443");
    expect(serverOf(all, {}, account)).to.equal("https://env:6443");
    expect(serverOf(pod, {}, account)).to.equal("https://[fd00::1]:443");
    expect(namespaceOf(loadKubeConfig(pod, {}, account))).to.equal("team");
    expect(serverOf({ HOME: directory }, {}, account)).to.equal("https://home:6443");
  });

  it("merges KUBECONFIG's files as kubectl does: the first wins, missing ones are left out, paths are their own", async () => {
    const one = await kubeconfig("one", "one");
    await mkdir(join(directory, "deep"));
    const two = await kubeconfig("deep/two", "two");
    const config = loadKubeConfig({ KUBECONFIG: [join(directory, "none"), one, two, one].join(":") });
    expect(config.getCurrentCluster()?.server).to.equal("https://one:6443");
    expect(config.contexts.map(({ name }) => name)).to.deep.equal(["one", "two"]);
    expect(config.getCluster("two")?.caFile).to.equal(join(directory, "deep/ca.crt"));
    const other = { KUBECONFIG: `${one}:${two}` };
    expect(serverOf(other, { context: "two" })).to.equal("https://two:6443");
  });

  it("follows a user's token file, and allows plain http as of kubectl proxy", async () => {
    const user = { tokenFile: "token" };
    await writeFile(join(directory, "token"), "secret\n");
    const path = await kubeconfig("config", "proxy", { server: "http://127.0.0.1:8001", user });
    const config = loadKubeConfig({}, { kubeconfig: path });
    expect(config.getCurrentUser()?.authProvider).to.deep.equal({
      name: "tokenFile",
      config: { tokenFile: join(directory, "token") },
    });
    const options: { headers?: Record<string, string> } = {};
    await writeFile(join(directory, "ca.crt"), "");
    await config.applyToHTTPSOptions(options);
    expect(options.headers?.Authorization?.trim()).to.equal("Bearer secret");
  });

  it("trusts the cluster's CA also where the context names no user", async () => {
    const path = await kubeconfig("config", "one");
    const config = JSON.parse(await readFile(path, "utf8")) as { contexts: { context: { user?: string } }[] };
    delete config.contexts[0]?.context.user;
    await writeFile(path, JSON.stringify(config));
    await writeFile(join(directory, "ca.crt"), "a certificate");
    const options: { ca?: unknown } = {};
    await loadKubeConfig({}, { kubeconfig: path }).applyToHTTPSOptions(options);
    expect(String(options.ca)).to.equal("a certificate");
  });

  it("says what is missing and what would be right", async () => {
    const path = await kubeconfig("config", "one", { current: "gone" });
    await writeFile(join(directory, "broken"), "clusters: [");
    expect(refusal({ HOME: directory }))
      .to.include("no cluster is configured")
      .and.include("--kubeconfig FILE");
    expect(refusal({}, { kubeconfig: join(directory, "none") })).to.include("named by --kubeconfig does not exist");
    expect(refusal({ KUBECONFIG: join(directory, "none") })).to.include("named by KUBECONFIG does not exist");
    expect(refusal({ KUBECONFIG: path }))
      .to.include('current-context "gone"')
      .and.include("it has: one");
    expect(refusal({ KUBECONFIG: path }, { context: "two" })).to.include('"two" is not in the kubeconfig; it has: one');
    expect(refusal({ KUBECONFIG: join(directory, "broken") })).to.include("cannot be read");
  });
});
