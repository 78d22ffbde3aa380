import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { leb128 } from "../../backends/wasm/binary/reader.ts";
import { directModule } from "../backends/wasm/assembler.ts";
import { startHttpServer } from "../support/rpc/http-server.ts";
import { useCluster } from "./cluster.ts";
import { ControllerProcess } from "./controller-process.ts";
import { Namespace, processor } from "./manifests.ts";

const count = 12;

/** Another module for each index, of some 300 KB: a custom section makes it so large. */
function padded(index: number): Uint8Array {
  const content = new Uint8Array(300_000).fill(index);
  return Uint8Array.from([...directModule(), 0, ...leb128(content.length + 2), 1, 0x70, ...content]);
}

describe("The cache of modules of a controller, in a real cluster", function () {
  this.timeout(90_000);
  const cluster = useCluster();
  let cache: string | undefined;

  after(async () => {
    if (cache !== undefined) await rm(cache, { recursive: true, force: true });
  });

  it("keeps what all Processors use beyond its size, and has it for them after a restart without the network", async () => {
    const namespace = await Namespace.create(cluster);
    cache = await mkdtemp(join(tmpdir(), "millrace-modules-"));
    const modules = join(cache, "sha256");
    const server = await startHttpServer((request, response) => {
      response.end(padded(Number(/\d+/.exec(request.url ?? "")?.[0])));
    });
    const host = `127.0.0.1:${server.port}`;
    const flags = ["--namespace", namespace.name, "--insecure-registry", host];
    const args = [...flags, "--module-cache-dir", cache, "--module-cache-size", "1Mi"];
    const start = () => ControllerProcess.start({ kubeconfig: cluster.kubeconfig, args });
    const many = (timeout: string) =>
      Array.from({ length: count }, (_, index) =>
        processor(`many${index}`, { timeout, wasm: { source: { http: `http://${host}/${index}.wasm` } } }),
      );
    const allLoaded = async (generation: number) => {
      for (let index = 0; index < count; index++) {
        await namespace.wait(`mproc/many${index}`, `jsonpath={.status.observedGeneration}=${generation}`);
        await namespace.waitFor(`mproc/many${index}`, "Ready", "True", "Loaded");
      }
      expect(await readdir(modules)).to.have.length(count);
    };
    try {
      await using _ = await start();
      await namespace.apply(...many("5s"));
      await allLoaded(1);
    } finally {
      await server[Symbol.asyncDispose]();
    }
    await namespace.apply(...many("6s"));
    await using _ = await start();
    await allLoaded(2);
  });
});
