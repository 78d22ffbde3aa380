import { unlink } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import type { Client, KubernetesObject, ListOptions } from "../../../controller/api/client.ts";
import { PayloadSweeper, type PayloadSweepOptions } from "../../../controller/payloads/cluster-sweep.ts";
import type { FileSystemStore } from "../../../controller/payloads/file-system.ts";
import { ManifestWriter } from "../../../controller/payloads/manifest.ts";
import type { NamespaceUids } from "../../../controller/payloads/namespaces.ts";
import type { PayloadRef } from "../../../controller/payloads/store.ts";
import type { Logger } from "../../../controller/runtime/logger.ts";
import { textPayload } from "../../../engine/payload.ts";
import { VirtualTime } from "../../support/virtual-time.ts";
import { never, temporaryStore } from "./store-folder.ts";

const hourMs = 3_600_000;

function refOf({ digest, bytes }: PayloadRef): { ref: string; bytes: number } {
  return { ref: digest, bytes };
}

describe("the sweep of payloads", () => {
  let time: VirtualTime;
  let folder: Awaited<ReturnType<typeof temporaryStore>>;
  let store: FileSystemStore;
  let objects: KubernetesObject[];
  let warnings: unknown[];
  let lists: number;

  beforeEach(async () => {
    time = new VirtualTime();
    folder = await temporaryStore(time.clock);
    store = folder.store;
    objects = [];
    warnings = [];
    lists = 0;
  });
  afterEach(() => folder[Symbol.asyncDispose]());

  function sweeper(namespaces: readonly string[] = []): PayloadSweeper {
    const list = async (_: unknown, { namespace, continue: at }: ListOptions) => {
      lists += 1;
      const found = objects.filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace);
      const index = Number(at ?? 0);
      const more = index + 1 < found.length ? { continue: String(index + 1) } : {};
      return { items: found.slice(index, index + 1), resourceVersion: "1", ...more };
    };
    const logger: Logger = {
      debug() {},
      info() {},
      warn: (fields) => warnings.push(fields),
      error() {},
      child: () => logger,
    };
    const uids = { uidOf: async (namespace: string) => `uid-${namespace}` } as unknown as NamespaceUids;
    const options = { client: { list } as unknown as Client, ports: time, logger, store, uids, namespaces };
    return new PayloadSweeper(options satisfies PayloadSweepOptions);
  }

  const put = (namespace: string, text: string) => store.put(`uid-${namespace}`, textPayload(text), never);

  /** An Execution of that namespace. */
  function execution(namespace: string, parts: { readonly spec?: object; readonly status?: object }): void {
    objects.push({
      apiVersion: "",
      kind: "Execution",
      metadata: { name: `run-${objects.length}`, namespace },
      spec: {},
      ...parts,
    });
  }

  async function left(namespace: string): Promise<Set<string>> {
    const stored = await Array.fromAsync(store.list(`uid-${namespace}`, never));
    return new Set(stored.map(({ digest }) => digest));
  }

  const digests = (...refs: readonly PayloadRef[]) => new Set(refs.map(({ digest }) => digest));

  it("keeps what an Execution names, wherever it names it, and deletes all else", async () => {
    const [input, output, log, metadata, error, result, named, gone] = await Promise.all(
      ["input", "output", "log", "metadata", "error", "result", "named", "gone"].map((text) => put("team", text)),
    );
    if (!input || !output || !log || !metadata || !error || !result || !named || !gone) throw new Error("not stored");
    await put("else", "of a namespace without Executions");
    const row = {
      name: "a",
      output: { payload: refOf(output) },
      log: refOf(log),
      metadataPayload: refOf(metadata),
      error: { full: refOf(error) },
    };
    execution("team", { spec: { input: { payload: { ref: input.digest } } } });
    execution("team", { status: { steps: [row], output: { payload: refOf(result) } } });
    execution("team", { status: { outputs: [{ name: "top", value: { payload: refOf(named) } }] } });
    await time.advance(2 * hourMs);
    await sweeper().sweep(never);
    expect(await left("team")).to.deep.equal(digests(input, output, log, metadata, error, result, named));
    expect(await left("else")).to.deep.equal(new Set());
  });

  async function fanOut(...texts: readonly string[]): Promise<{ manifest: PayloadRef; named: PayloadRef[] }> {
    const writer = ManifestWriter.empty(store, "uid-team");
    const named: PayloadRef[] = [];
    for (const [index, text] of texts.entries()) {
      const [output, log] = [await put("team", text), await put("team", `log of ${text}`)];
      named.push(output, log);
      const row = { payload: refOf(output), contentType: output.contentType };
      await writer.add([{ index: index * 300, state: "Succeeded", attempts: 1, output: row, log }], never);
    }
    return { manifest: await writer.flush(never), named };
  }

  it("keeps what a fan-out's results name: chunks, outputs and logs of items", async () => {
    const { manifest, named } = await fanOut("one", "two");
    await put("team", "gone");
    execution("team", { status: { steps: [{ name: "a", items: { total: 301, results: refOf(manifest) } }] } });
    await time.advance(2 * hourMs);
    const before = await left("team");
    await sweeper().sweep(never);
    const after = await left("team");
    expect([...before].filter((digest) => !after.has(digest))).to.deep.equal([textPayload("gone").digest]);
    for (const { digest } of named) expect(after.has(digest)).to.equal(true);
    expect(warnings).to.deep.equal([]);
  });

  it("deletes nothing of a namespace where a fan-out's results cannot be read, and says so, and sweeps the others", async () => {
    const { manifest, named } = await fanOut("one", "two");
    await put("team", "named by what cannot be read, for all we know");
    await put("else", "gone");
    execution("team", { status: { steps: [{ name: "a", items: { total: 301, results: refOf(manifest) } }] } });
    await time.advance(2 * hourMs);
    const chunk = [...(await left("team"))].find((digest) => !digests(manifest, ...named).has(digest)) ?? "";
    const hex = chunk.slice("sha256:".length);
    await unlink(join(folder.root, "uid-team", hex.slice(0, 2), hex));
    const before = await left("team");
    await sweeper().sweep(never);
    expect(await left("team")).to.deep.equal(before);
    expect(await left("else")).to.deep.equal(new Set());
    expect(warnings).to.have.length(1);
    expect(warnings[0]).to.include({ namespace: "team", execution: "run-0", step: "a" });
    objects = [];
    await sweeper().sweep(never);
    expect(await left("team")).to.deep.equal(new Set());
  });

  it("keeps what a record names until it expires, and deletes it with the record", async () => {
    const kept = await put("team", "remembered");
    const key = "0123456789abcdef0123456789abcdef";
    const expiresAtMs = time.clock.now() + 3 * hourMs;
    await store.putRecord("uid-team", key, { expiresAtMs, payloads: [kept.digest], value: 1 }, never);
    await time.advance(2 * hourMs);
    await sweeper().sweep(never);
    expect(await left("team")).to.deep.equal(digests(kept));
    await time.advance(2 * hourMs);
    await sweeper().sweep(never);
    expect(await left("team")).to.deep.equal(new Set());
    expect(store.budget.usedBytes).to.equal(0);
  });

  it("deletes nothing that was touched within the hour", async () => {
    const [old, verified] = [await put("team", "old"), await put("team", "verified")];
    await time.advance(2 * hourMs);
    const young = await put("team", "young");
    expect(await store.verify("uid-team", verified, never)).to.equal(true);
    await time.advance(hourMs / 2);
    await sweeper().sweep(never);
    expect(await left("team")).to.deep.equal(digests(verified, young));
    expect(old.digest).not.to.equal(young.digest);
  });

  it("touches nothing of namespaces that it does not work in", async () => {
    await put("team", "gone");
    const kept = await put("else", "of another controller");
    await time.advance(2 * hourMs);
    await sweeper(["team"]).sweep(never);
    expect(await left("team")).to.deep.equal(new Set());
    expect(await left("else")).to.deep.equal(digests(kept));
  });

  it("is done once for all who want room at the same time, and for that once a minute at most", async () => {
    await put("team", "gone");
    await time.advance(2 * hourMs);
    const swept = sweeper();
    await Promise.all(Array.from({ length: 5 }, () => swept.sweepEarly(never)));
    expect([lists, (await left("team")).size]).to.deep.equal([1, 0]);
    await swept.sweepEarly(never);
    expect(lists).to.equal(1);
    await time.advance(60_000);
    await swept.sweepEarly(never);
    expect(lists).to.equal(2);
    // It found nothing: the next ones come later and later.
    await time.advance(60_000);
    await swept.sweepEarly(never);
    expect(lists).to.equal(2);
    await time.advance(60_000);
    await swept.sweepEarly(never);
    expect(lists).to.equal(3);
    await put("team", "gone");
    await time.advance(2 * hourMs);
    await swept.sweepEarly(never);
    await time.advance(60_000);
    await swept.sweepEarly(never);
    expect(lists).to.equal(5);
  });
});
