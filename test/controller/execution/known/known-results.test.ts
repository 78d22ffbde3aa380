import { expect } from "chai";
import type { StepRow } from "../../../../controller/api/types.ts";
import type { ProcessorVersion } from "../../../../controller/catalog.ts";
import { EarlierRun } from "../../../../controller/execution/known/earlier-run.ts";
import { RunMemory } from "../../../../controller/execution/known/known-results.ts";
import { requestDigest } from "../../../../controller/execution/known/request-digest.ts";
import type { RunPayloads } from "../../../../controller/execution/recording/payloads.ts";
import type { ItemRecord } from "../../../../controller/payloads/manifest.ts";
import { MillraceError } from "../../../../engine/errors.ts";
import { BytesPayload, jsonPayload, type Payload, textPayload } from "../../../../engine/payload.ts";
import type { Intent, ProcessorRequest } from "../../../../engine/processor.ts";
import type { CacheUse, KnownResult, Work } from "../../../../engine/run/run-options.ts";
import { namespaceUid, never } from "../../payloads/store-folder.ts";
import { VirtualTime } from "../../runtime/fakes.ts";
import { type RunFolder, runFolder } from "../run-folder.ts";

const execution = { namespace: "team", name: "one", uid: "u" };
const cache: CacheUse = { maxAgeMs: 60_000 };
const large = new BytesPayload(new Uint8Array(5_000).fill(7), "image/png");

function workOf(stepName: string, item?: number): Work {
  const key = `u/${stepName}`;
  return {
    step: 0,
    stepName,
    processor: "work",
    idempotencyKey: key,
    execution,
    ...(item === undefined ? {} : { item }),
  };
}

function requestOf(text: string, more: Partial<ProcessorRequest> = {}): ProcessorRequest {
  return { payload: textPayload(text), metadata: {}, options: {}, ...more };
}

function versionOf(digests: readonly string[], intent: Intent = "Transform", called = "process"): ProcessorVersion {
  return { generation: 1, digests, called, facts: { intent } } as unknown as ProcessorVersion;
}

/** Of one run, whose Processor is that version. */
function memoryOf(
  folder: RunFolder,
  time: VirtualTime,
  {
    version = versionOf(["sha256:a"]),
    earlier,
    used = [],
  }: { version?: ProcessorVersion; earlier?: EarlierRun; used?: string[] } = {},
): { readonly memory: RunMemory; readonly payloads: RunPayloads } {
  const payloads = folder.another();
  const memory = new RunMemory({
    clock: time.ports.clock,
    payloads,
    ...(earlier && { earlier }),
    serving: () => version,
    onUsed: (_work, { generation }, request) => void used.push(`${generation} ${request}`),
    onFailure: (_work, error) => {
      throw error;
    },
    signal: never,
  });
  return { memory, payloads };
}

/** A run in which the step succeeded with that output. */
async function kept(
  folder: RunFolder,
  time: VirtualTime,
  request: ProcessorRequest,
  {
    output = textPayload("out"),
    use = cache,
    version = versionOf(["sha256:a"]),
  }: { output?: Payload; use?: CacheUse; version?: ProcessorVersion } = {},
): Promise<void> {
  const { memory, payloads } = memoryOf(folder, time, { version });
  memory.invoked(request, version);
  memory.keep(workOf("clean"), request, use, await payloads.keep(output, never), { words: "3" });
  await memory.settled();
}

async function told(result: KnownResult | undefined): Promise<string> {
  if (result === undefined) return "nothing";
  return `${result.reason} ${Buffer.from(await result.output.bytes(never)).toString()} ${JSON.stringify(result.metadata)}`;
}

describe("a step with a cache", () => {
  it("has the result of the same request to the same code in another run", async () => {
    const time = new VirtualTime();
    await using folder = await runFolder(time.ports.clock);
    await kept(folder, time, requestOf("in", { options: { b: 1, a: 2 } }));
    const used: string[] = [];
    const { memory } = memoryOf(folder, time, { used });
    const request = requestOf("in", { options: { a: 2, b: 1 } });
    expect(await told(await memory.find(workOf("count"), request, cache))).to.equal('Cached out {"words":"3"}');
    expect(used).to.deep.equal([`1 ${requestDigest(request, "process")}`]);
  });

  const others: readonly [string, ProcessorRequest][] = [
    ["payload", requestOf("other")],
    ["content type", requestOf("in", { payload: new BytesPayload(Buffer.from("in"), "text/csv") })],
    ["options", requestOf("in", { options: { top: 1 } })],
    ["metadata", requestOf("in", { metadata: { "a.b": "c" } })],
  ];
  for (const [what, request] of others) {
    it(`runs for another ${what}`, async () => {
      const time = new VirtualTime();
      await using folder = await runFolder(time.ports.clock);
      await kept(folder, time, requestOf("in"));
      expect(await memoryOf(folder, time).memory.find(workOf("clean"), request, cache)).to.equal(undefined);
    });
  }

  it("runs for other code, and for code without a digest, whose results are not kept either", async () => {
    const time = new VirtualTime();
    await using folder = await runFolder(time.ports.clock);
    await kept(folder, time, requestOf("in"));
    for (const digests of [["sha256:b"], ["sha256:a", "sha256:b"]]) {
      const { memory } = memoryOf(folder, time, { version: versionOf(digests) });
      expect(await memory.find(workOf("clean"), requestOf("in"), cache)).to.equal(undefined);
    }
    const other = memoryOf(folder, time, { version: versionOf(["sha256:a"], "Transform", "another export") });
    expect(await other.memory.find(workOf("clean"), requestOf("in"), cache)).to.equal(undefined);
    const unnamed = versionOf([]);
    await kept(folder, time, requestOf("in"), { version: unnamed });
    const { memory } = memoryOf(folder, time, { version: unnamed });
    expect(memory.find(workOf("clean"), requestOf("in"), cache)).to.equal(undefined);
    expect(await Array.fromAsync(folder.store.records(namespaceUid, time.ports.clock.now(), never))).to.have.length(1);
  });

  it("runs again when the result is as old as the asking step's maxAge", async () => {
    const time = new VirtualTime();
    await using folder = await runFolder(time.ports.clock);
    await kept(folder, time, requestOf("in"));
    await time.advance(30_000);
    const ask = (maxAgeMs: number) =>
      memoryOf(folder, time).memory.find(workOf("clean"), requestOf("in"), { maxAgeMs });
    expect(await ask(30_000)).to.equal(undefined);
    expect(await told(await ask(30_001))).to.contain("Cached out");
    await time.advance(30_000);
    expect(await ask(1_000_000)).to.equal(undefined);
  });

  it("goes by its key instead of its input, where it has one, and by its options still", async () => {
    const time = new VirtualTime();
    await using folder = await runFolder(time.ports.clock);
    const use = { ...cache, key: "monday" };
    await kept(folder, time, requestOf("in"), { use });
    const find = async (request: ProcessorRequest, key: string) =>
      await told(await memoryOf(folder, time).memory.find(workOf("clean"), request, { ...cache, key }));
    expect(await find(requestOf("other"), "monday")).to.contain("Cached out");
    expect(await find(requestOf("in"), "tuesday")).to.equal("nothing");
    expect(await find(requestOf("in", { options: { top: 1 } }), "monday")).to.equal("nothing");
  });

  it("runs when the output is lost or corrupt, and keeps a large one alive while it is remembered", async () => {
    const time = new VirtualTime();
    await using folder = await runFolder(time.ports.clock);
    await kept(folder, time, requestOf("in"), { output: large });
    const [record] = await Array.fromAsync(folder.store.records(namespaceUid, time.ports.clock.now(), never));
    expect(record?.payloads).to.deep.equal([large.digest]);
    const find = () => memoryOf(folder, time).memory.find(workOf("clean"), requestOf("in"), cache);
    expect((await find())?.output.digest).to.equal(large.digest);
    await folder.store.delete(namespaceUid, large.digest, Number.POSITIVE_INFINITY, never);
    expect(await find()).to.equal(undefined);
  });

  it("that analyzes passes its own payload on", async () => {
    const time = new VirtualTime();
    await using folder = await runFolder(time.ports.clock);
    const version = versionOf(["sha256:a"], "Analyze");
    await kept(folder, time, requestOf("in"), { output: large, version });
    const { memory } = memoryOf(folder, time, { version });
    expect(await told(await memory.find(workOf("clean"), requestOf("in"), cache))).to.equal('Cached in {"words":"3"}');
  });

  it("is not held up where there is nothing to ask", async () => {
    const time = new VirtualTime();
    await using folder = await runFolder(time.ports.clock);
    const { memory } = memoryOf(folder, time, { earlier: new EarlierRun({}) });
    expect(memory.find(workOf("clean"), requestOf("in"), undefined)).to.equal(undefined);
  });
});

describe("a run that takes over the results of an earlier one", () => {
  const request = requestOf("in");
  const row: StepRow = {
    name: "clean",
    state: "Succeeded",
    attempts: 1,
    output: { text: "out", contentType: "text/plain" },
    metadata: { words: "3" },
    request: requestDigest(request, "process"),
    processor: { name: "work", generation: 1, digests: ["sha256:a"] },
  };

  async function found(
    change: Partial<StepRow>,
    { version, prepare }: { version?: ProcessorVersion; prepare?: (folder: RunFolder) => Promise<StepRow> } = {},
  ): Promise<string> {
    const time = new VirtualTime();
    await using folder = await runFolder(time.ports.clock);
    const steps = [{ ...row, ...change }, ...(prepare ? [await prepare(folder)] : [])].slice(prepare ? 1 : 0);
    const { memory } = memoryOf(folder, time, { earlier: new EarlierRun({ steps }), ...(version && { version }) });
    return await told(await memory.find(workOf("clean"), request, undefined));
  }

  it("has a step's result when everything is the same", async () => {
    expect(await found({})).to.equal('Reused out {"words":"3"}');
  });

  const differences: readonly [string, Partial<StepRow>][] = [
    ["failed", { state: "Failed" }],
    ["was skipped", { state: "Skipped" }],
    ["received something else", { request: "0".repeat(32) }],
    ["has no digest of what it received", { request: "" }],
    ["ran on other code", { processor: { name: "work", digests: ["sha256:b"] } }],
    ["ran on two versions", { processor: { name: "work", digests: ["sha256:a", "sha256:b"] } }],
    ["ran on code without a digest", { processor: { name: "work" } }],
    [
      "gave an output that is lost",
      { output: { payload: { ref: large.digest, bytes: 5_000 }, contentType: "image/png" } },
    ],
  ];
  for (const [what, change] of differences) {
    it(`runs a step that ${what}`, async () => expect(await found(change)).to.equal("nothing"));
  }

  it("runs a step whose Processor now calls another part of the same code", async () => {
    expect(await found({}, { version: versionOf(["sha256:a"], "Transform", "another export") })).to.equal("nothing");
  });

  it("runs a step whose Processor has no digest now", async () => {
    expect(await found({}, { version: versionOf([]) })).to.equal("nothing");
  });

  it("takes over what an analyzing step said, with the payload that it receives now", async () => {
    const version = versionOf(["sha256:a"], "Analyze");
    expect(await found({}, { version })).to.equal('Reused in {"words":"3"}');
  });

  it("reads large metadata and a large output from the store", async () => {
    const prepare = async (folder: RunFolder): Promise<StepRow> => {
      const { metadata: _inline, ...rest } = row;
      const metadata = await folder.payloads.metadataRow({ note: "n".repeat(2_000) }, never);
      return { ...rest, ...metadata, output: await folder.payloads.itemRow(jsonPayload("o".repeat(5_000)), never) };
    };
    expect(await found({}, { prepare })).to.equal(`Reused "${"o".repeat(5_000)}" {"note":"${"n".repeat(2_000)}"}`);
  });

  it("takes the succeeded items of a fan-out over one by one", async () => {
    const time = new VirtualTime();
    await using folder = await runFolder(time.ports.clock);
    const writer = await folder.payloads.manifest(undefined, never);
    const output = { text: "item", contentType: "text/plain" };
    const same = { attempts: 1, output, request: requestDigest(request, "process") } as const;
    await writer.add(
      [
        { ...same, index: 0, state: "Succeeded" },
        { ...same, index: 1, state: "Failed" },
        { ...same, index: 2, state: "Succeeded", request: "0".repeat(32) },
      ],
      never,
    );
    const { digest, bytes } = await writer.flush(never);
    const items = { total: 4, succeeded: 2, failed: 1, results: { ref: digest, bytes } };
    const earlier = new EarlierRun({ steps: [{ ...row, state: "Failed", items }] });
    const { memory } = memoryOf(folder, time, { earlier });
    const asked = [0, 1, 2, 3].map(
      async (item) => await told(await memory.find(workOf("clean", item), request, undefined)),
    );
    expect(await Promise.all(asked)).to.deep.equal(["Reused item {}", "nothing", "nothing", "nothing"]);
  });

  it("asks the store again for a fan-out's results after it was away, and runs all items of results that are lost", async () => {
    const time = new VirtualTime();
    await using folder = await runFolder(time.ports.clock);
    const writer = await folder.payloads.manifest(undefined, never);
    const output = { text: "item", contentType: "text/plain" };
    const record = { index: 0, state: "Succeeded", attempts: 1, output, request: requestDigest(request, "process") };
    await writer.add([record as ItemRecord], never);
    const { digest, bytes } = await writer.flush(never);
    const earlierWith = (ref: string) => {
      const items = { total: 1, succeeded: 1, failed: 0, results: { ref, bytes } };
      return new EarlierRun({ steps: [{ ...row, state: "Failed", items }] });
    };
    const wanted = {
      work: { stepName: "clean", item: 0 },
      request: record.request,
      digests: ["sha256:a"],
      passes: false,
    };
    const earlier = earlierWith(digest);
    const away = folder.another();
    away.items = () => {
      throw new MillraceError("Unavailable", "the store is away");
    };
    const refused = await earlier.find(wanted, away, never).catch((error: unknown) => error);
    expect(refused).to.include({ code: "Unavailable" });
    expect((await earlier.find(wanted, folder.payloads, never))?.output?.size).to.equal(4);
    expect(await earlierWith(large.digest).find(wanted, folder.payloads, never)).to.equal(undefined);
  });
});
