import { expect } from "chai";
import { attemptOf, never, rejection, requestOf, specOf, textOf, turn } from "../support.ts";
import { moduleOf, Plugins } from "./plugins.ts";

const good = "export const process = () => 'good';";

describe("hostile and broken ES modules", function () {
  this.timeout(30_000);
  let plugins: Plugins;
  beforeEach(async () => {
    plugins = await Plugins.create({ maxHeapMiB: 24 });
  });
  afterEach(async () => {
    await plugins[Symbol.asyncDispose]();
    expect(plugins.workers).to.equal(0);
  });

  const contained: readonly [string, string, string][] = [
    ["spins", "for (;;);", "DeadlineExceeded"],
    ["spins in a regular expression", "return String(/^(a+)+$/.test('a'.repeat(50) + 'b'));", "DeadlineExceeded"],
    ["never answers", "return new Promise(() => {});", "DeadlineExceeded"],
    ["starves its own event loop", "return (async () => { for (;;) await null; })();", "DeadlineExceeded"],
    [
      "allocates without end",
      "const kept = []; for (;;) kept.push(new Array(1e5).fill(kept.length));",
      "SandboxViolation",
    ],
    ["ends the process", "globalThis.process.exit(0);", "ProcessorCrashed"],
    [
      "throws later, in a timer",
      "setTimeout(() => { throw new Error('late'); }); return new Promise(() => {});",
      "ProcessorCrashed",
    ],
    [
      "rejects a promise that nobody looks at",
      "Promise.reject(new Error('lost')); return new Promise(() => {});",
      "ProcessorCrashed",
    ],
    ["recurses without end", "const down = () => down() + 1; return String(down());", "ProcessorCrashed"],
    ["throws what is no error", "throw { toString() { throw 1; } };", "ProcessorCrashed"],
    ["gives more than it may", "return new Uint8Array(5 * 1024 * 1024);", "PayloadTooLarge"],
  ];
  for (const [what, body, code] of contained) {
    it(`contains one that ${what}: ${code}, while its neighbour goes on`, async () => {
      await using neighbour = await plugins.caller(good, { file: "good.mjs" });
      await using bad = await plugins.caller(`export function process(request) { ${body} }`);
      const timeoutMs = code === "DeadlineExceeded" ? 400 : 20_000;
      const hostile = rejection(bad.call(attemptOf({ timeoutMs }), requestOf(), never));
      for (let calls = 0; calls < 10; calls += 1) {
        expect(await textOf(await neighbour.call(attemptOf(), requestOf(), never))).to.equal("good");
      }
      expect((await hostile).code).to.equal(code);
      expect(await textOf(await neighbour.call(attemptOf(), requestOf(), never))).to.equal("good");
    });
  }

  it("answers again after each of a row of crashes", async () => {
    const source = "export const process = (r) => r.options.die ? globalThis.process.exit(1) : 'alive';";
    await using caller = await plugins.caller(source);
    for (let crashes = 0; crashes < 5; crashes += 1) {
      const died = rejection(caller.call(attemptOf(), requestOf("", { die: true }), never));
      expect((await died).code).to.equal("ProcessorCrashed");
      expect(await textOf(await caller.call(attemptOf(), requestOf(), never))).to.equal("alive");
    }
  });

  it("drops a flood on stdout and stderr, and takes the answer", async () => {
    const source =
      "export const process = () => { for (let n = 0; n < 3000; n += 1) { console.log('x'.repeat(1000)); console.error('y'); } return 'done'; };";
    await using caller = await plugins.caller(source);
    expect(await textOf(await caller.call(attemptOf(), requestOf(), never))).to.equal("done");
  });

  it("lets a module that listens to its signal stop by itself, and keeps its worker", async () => {
    const source = `let calls = 0; export const process = (request, { signal }) => {
      calls += 1;
      if (!request.options.wait) return String(calls);
      return new Promise((resolve) => signal.addEventListener("abort", () => resolve("stopped")));
    };`;
    await using one = await Plugins.create({ maxWorkers: 1, abortGraceMs: 5000 });
    await using caller = await one.caller(source);
    const waiting = caller.call(attemptOf({ timeoutMs: 50 }), requestOf("", { wait: true }), never);
    expect((await rejection(waiting)).code).to.equal("DeadlineExceeded");
    expect(await textOf(await caller.call(attemptOf(), requestOf(), never))).to.equal("2");
  });

  for (const [what, source] of [
    [
      "whose top-level await never ends",
      "await new Promise(() => setInterval(() => {}, 1000)); export const process = () => '';",
    ],
    ["that spins when it is imported", "for (;;); export const process = () => '';"],
  ] as const) {
    it(`gives up loading one ${what}`, async () => {
      await using quick = await Plugins.create({ loadTimeoutMs: 2000 });
      await quick.write("subject.mjs", source);
      const error = await rejection(quick.backend.load(specOf(moduleOf()), never));
      expect(error.code).to.equal("DeadlineExceeded");
      await quick.write("good.mjs", good);
      const loaded = await quick.backend.load(specOf(moduleOf({ file: "good.mjs" })), never);
      expect(loaded.digests).to.have.length(1);
    });
  }

  it("stops loading when the loading is cancelled", async () => {
    await plugins.write("subject.mjs", "for (;;); export const process = () => '';");
    const cancel = new AbortController();
    const loading = plugins.backend.load(specOf(moduleOf()), cancel.signal);
    setTimeout(() => cancel.abort(new Error("no longer wanted")), 50);
    const message = await loading.then(
      () => "loaded",
      (error: unknown) => (error as Error).message,
    );
    expect(message).to.include("no longer wanted");
  });

  it("leaves no worker of a module that was unloaded, but the spare", async () => {
    const callers = [await plugins.caller(good), await plugins.caller(good, { file: "other.mjs" })];
    expect(plugins.workers).to.be.at.least(2);
    for (const caller of callers) await caller[Symbol.asyncDispose]();
    while (plugins.workers > 1) await turn();
  });
});

describe("ES modules, Inline", function () {
  this.timeout(30_000);

  it("are refused where the installation does not allow it, and the message has the flag", async () => {
    await using plugins = await Plugins.create();
    await plugins.write("subject.mjs", good);
    const error = await rejection(plugins.backend.load(specOf(moduleOf({ isolation: "Inline" })), never));
    expect(error.code).to.equal("InvalidInput");
    expect(error.message).to.include("--allow-isolation=Inline");
  });

  it("run in this thread where it is allowed, start no worker, and load the file's present content", async () => {
    await using plugins = await Plugins.create({ allowIsolation: ["Inline"] });
    for (const version of ["one", "two"]) {
      const source = `export const process = (request, context) => '${version} ' + context.signal.aborted;`;
      await using caller = await plugins.caller(source, { isolation: "Inline" });
      expect(await textOf(await caller.call(attemptOf(), requestOf(), never))).to.equal(`${version} false`);
    }
    expect(plugins.workers).to.equal(0);
  });

  it("cannot write to a payload or to options that others read", async () => {
    await using plugins = await Plugins.create({ allowIsolation: ["Inline"] });
    const source = `const scratch = new Uint8Array(4); export function process(request) {
      request.options.list.push(1); request.metadata.x = "1"; scratch.set(request.payload); request.payload.fill(120); return scratch;
    }`;
    await using caller = await plugins.caller(source, { isolation: "Inline" });
    const request = requestOf("mill", { list: [] });
    const first = await caller.call(attemptOf(), request, never);
    await caller.call(attemptOf(), requestOf("zzzz", { list: [] }), never);
    expect(new TextDecoder().decode(await request.payload.bytes(never))).to.equal("mill");
    expect([request.options, request.metadata]).to.deep.equal([{ list: [] }, {}]);
    expect(await textOf(first)).to.equal("mill");
  });

  it("have their errors translated as in a thread", async () => {
    await using plugins = await Plugins.create({ allowIsolation: ["Inline"] });
    const source =
      "export function process(request) { if (request.options.give) return 42; throw new TypeError('no melon'); }";
    await using caller = await plugins.caller(source, { isolation: "Inline" });
    const threw = await rejection(caller.call(attemptOf(), requestOf(), never));
    const gave = await rejection(caller.call(attemptOf(), requestOf("", { give: true }), never));
    expect([threw.code, gave.code]).to.deep.equal(["ProcessorCrashed", "ProcessorCrashed"]);
    expect(threw.message).to.include("TypeError: no melon").and.to.not.include(plugins.root);
    expect(gave.message).to.include("a number");
  });
});
