import { expect } from "chai";
import type { LoadedProcessor } from "../../backends/backend.ts";
import { BytesPayload } from "../../engine/payload.ts";
import { moduleOf, Plugins } from "./local/plugins.ts";
import { attemptOf, callerOf, ManualPorts, never, rejection, requestOf, specOf, textOf, turn } from "./support.ts";
import { directModule, end, unreachable } from "./wasm/assembler.ts";
import { backendOf, wasmSpec } from "./wasm/processors.ts";

/** Answers when it is cancelled, and not before. */
const endless =
  "export const process = (_request, { signal }) => new Promise((resolve) => { signal.onabort = resolve; });";
const echo = "export const process = (request) => new TextDecoder().decode(request.payload);";

const spinning = directModule({ process: [0x03, 0x40, 0x0c, 0, end, unreachable, end] });
const others = { execution: { namespace: "others", name: "run", uid: "uid-2" } };

describe("Processors that share worker threads", function () {
  this.timeout(30_000);
  let plugins: Plugins;
  afterEach(() => plugins[Symbol.asyncDispose]());

  async function load(name: string, source: string): Promise<LoadedProcessor> {
    await plugins.write(`${name}.mjs`, source);
    return plugins.backend.load(specOf(moduleOf({ file: `${name}.mjs` }), name), never);
  }

  it("answer another namespace while calls of one that never end are as many as may be", async () => {
    plugins = await Plugins.create({ maxWorkers: 4 });
    const [a, b] = await Promise.all([load("a", endless), load("b", endless)]);
    await using first = callerOf(Object.assign(a, { name: "a" }));
    await using second = callerOf(Object.assign(b, { name: "b" }));
    await using quick = callerOf(await load("quick", echo));
    const cancel = new AbortController();
    const timeoutMs = 600_000;
    const slow = [first, second].flatMap((caller) =>
      Array.from({ length: 8 }, () => rejection(caller.call(attemptOf({ timeoutMs }), requestOf(), cancel.signal))),
    );
    const large = { ...requestOf(), payload: new BytesPayload(new Uint8Array(300 * 1024).fill(120), "text/plain") };
    for (const request of [requestOf("mill"), large]) {
      const answer = await quick.call(attemptOf({ ...others, timeoutMs: 5000 }), request, never);
      expect((await textOf(answer)).length).to.equal(request.payload.size);
    }
    cancel.abort();
    for (const error of await Promise.all(slow)) expect(error.code).to.equal("Cancelled");
  });

  it("start the time of a module's call when a worker takes it, and tell it what is left", async () => {
    plugins = await Plugins.create({ maxWorkers: 1 });
    const ports = new ManualPorts();
    await using slow = callerOf(await load("slow", endless), {}, { ports });
    const left = "export const process = (_request, { remainingMs }) => String(remainingMs);";
    await using waiting = callerOf(await load("waiting", left), {}, { ports });
    const cancel = new AbortController();
    const first = rejection(slow.call(attemptOf({ timeoutMs: 60_000 }), requestOf(), cancel.signal));
    const second = waiting.call(attemptOf({ timeoutMs: 100 }), requestOf(), never);
    ports.advance(10_000);
    cancel.abort();
    expect((await first).code).to.equal("Cancelled");
    expect(await textOf(await second)).to.equal("100");
  });

  it("start the time of a WASM module's call when a worker takes it", async () => {
    plugins = await Plugins.create();
    const ports = new ManualPorts();
    await using backend = backendOf({ one: spinning, other: directModule() }, { maxWorkers: 1 });
    await using slow = callerOf(await backend.load(wasmSpec("one"), never), {}, { ports });
    await using waiting = callerOf(await backend.load(wasmSpec("other"), never), {}, { ports });
    const cancel = new AbortController();
    const first = rejection(slow.call(attemptOf({ timeoutMs: 60_000 }), requestOf(), cancel.signal));
    const second = waiting.call(attemptOf({ timeoutMs: 100 }), requestOf("mill"), never);
    await turn();
    ports.advance(10_000);
    cancel.abort();
    expect((await first).code).to.equal("Cancelled");
    expect((await second).ok).to.equal(true);
  });
});
