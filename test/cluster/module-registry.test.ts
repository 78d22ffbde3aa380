import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { directModule } from "../backends/wasm/assembler.ts";
import { registryUser, sha256, useRegistry } from "../support/registry.ts";
import { useCluster } from "./cluster.ts";
import { ControllerProcess } from "./controller-process.ts";
import { conditions, Namespace, processor } from "./manifests.ts";

describe("a WASM module of a registry, in a real cluster", function () {
  this.timeout(60_000);
  const cluster = useCluster();
  const suite = useRegistry(() => ({ auth: { kind: "Basic" } }));
  const module = directModule();
  let cache: string | undefined;

  after(async () => {
    if (cache !== undefined) await rm(cache, { recursive: true, force: true });
  });

  it("is refused until the Secret has credentials that do, then loaded, and is found in the cache after a restart", async () => {
    const { host } = suite.registry;
    const { digest } = await suite.registry.pushWasm("acme/words", "1", module);
    const namespace = await Namespace.create(cluster);
    cache = await mkdtemp(join(tmpdir(), "millrace-modules-"));
    const args = ["--namespace", namespace.name, "--insecure-registry", host, "--module-cache-dir", cache];
    const start = () => ControllerProcess.start({ kubeconfig: cluster.kubeconfig, args });
    const source = { oci: `${host}/acme/words:1` };
    const words = processor("words", { wasm: { source, pullSecretRef: { name: "registry" } } });
    {
      await using _ = await start();
      await namespace.apply(words, processor("anyone", { wasm: { source } }));
      await namespace.waitFor("mproc/words", "Stalled", "True", "SecretNotFound");
      await namespace.waitFor("mproc/anyone", "Stalled", "True", "ModuleUnauthorized");
      const { username, password } = registryUser;
      const login = [`--docker-server=${host}`, `--docker-username=${username}`, `--docker-password=${password}`];
      await namespace.kubectl("create", "secret", "docker-registry", "registry", ...login);
      await namespace.waitFor("mproc/words", "Ready", "True", "Loaded");
      const { status } = await namespace.get("mproc/words");
      expect(status.module).to.include({ digest: sha256(module), reference: `${host}/acme/words@${digest}` });
      expect(conditions(await namespace.get("mproc/words"))).to.have.all.keys("Ready", "ModuleCached");
    }
    await suite.registry[Symbol.asyncDispose]();
    await namespace.apply({ ...words, metadata: { name: "again" } });
    await using _ = await start();
    await namespace.waitFor("mproc/again", "Ready", "True", "Loaded");
  });
});
