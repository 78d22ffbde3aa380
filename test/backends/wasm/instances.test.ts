import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import type { BackendContext, WasmModule } from "../../../backends/backend.ts";
import type { Caller } from "../../../backends/call.ts";
import { leb128 } from "../../../backends/wasm/binary/reader.ts";
import type { WasmCall } from "../../../backends/wasm/calls/call.ts";
import { InlineCalls } from "../../../backends/wasm/calls/inline.ts";
import { WasmProcessor } from "../../../backends/wasm/processor.ts";
import { systemPorts } from "../../../engine/clock.ts";
import { BytesPayload, textPayload } from "../../../engine/payload.ts";
import { constant, directModule, end, i32, unreachable } from "./assembler.ts";
import { backendOf, callerOf, callWith, fuel, mebibyte, outputOf, rejection, wasmSpec } from "./processors.ts";

const never = new AbortController().signal;
const fixtures = join(import.meta.dirname, "../../fixtures/wasm");
const reference = new Uint8Array(readFileSync(join(fixtures, "reference.wasm")));

/** Gives one byte: how many calls its instance has served; traps when the first byte of its input is `x`. */
const counting = directModule({
  globals: [[i32, 1, ...constant(0), end]],
  process: [0x20, 0, 0x2d, 0, 0, ...constant(0x78), 0x46, 0x04, 0x40, unreachable, end].concat(
    [0x23, 0, ...constant(1), 0x6a, 0x24, 0, ...constant(0), 0x23, 0, 0x3a, 0, 0],
    [0x42, 1, end],
  ),
});

/** The same, with a memory of 100 MiB. */
const large = directModule({
  memories: [[0, ...leb128(1600)]],
  globals: [[i32, 1, ...constant(0), end]],
  process: [0x23, 0, ...constant(1), 0x6a, 0x24, 0, ...constant(0), 0x23, 0, 0x3a, 0, 0, 0x42, 1, end],
});

const spinning = directModule({ process: [0x03, 0x40, 0x0c, 0, end, unreachable, end] });

/** The reference with a custom section that makes it at least so large. */
function padded(bytes: number): Uint8Array {
  const length = leb128(bytes);
  return Uint8Array.from([...reference, 0, ...length, 1, 0x70, ...new Uint8Array(bytes - 2)]);
}

const inline: Partial<WasmModule> = {
  isolation: "Inline",
  limits: { maxMemoryBytes: 4 * mebibyte, fuel: 5_000_000 },
};

async function served(caller: Caller, text = "a"): Promise<number> {
  const response = await callWith(caller, text);
  if (!response.ok) throw new Error(response.error.message);
  return (await response.payload.bytes(never))[0] ?? -1;
}

async function counts(caller: Caller, calls: number): Promise<number[]> {
  const found: number[] = [];
  for (let call = 0; call < calls; call++) found.push(await served(caller));
  return found;
}

describe("Instances of WASM modules", function () {
  this.timeout(30_000);

  for (const isolation of ["Worker", "Inline"] as const) {
    const where = isolation === "Inline" ? inline : {};

    it(`are fresh for each call by default, and serve as many as they are to (${isolation})`, async () => {
      await using backend = backendOf({ counting }, { maxWorkers: 1, allowIsolation: ["Inline"] });
      await using fresh = await callerOf(backend, wasmSpec("counting", where));
      expect(await counts(fresh, 3)).to.deep.equal([1, 1, 1]);
      await using reused = await callerOf(backend, wasmSpec("counting", { ...where, reuse: 3 }));
      expect(await counts(reused, 7)).to.deep.equal([1, 2, 3, 1, 2, 3, 1]);
    });

    it(`are not used again after an error (${isolation})`, async () => {
      await using backend = backendOf({ counting }, { maxWorkers: 1, allowIsolation: ["Inline"] });
      await using caller = await callerOf(backend, wasmSpec("counting", { ...where, reuse: 100 }));
      expect(await counts(caller, 2)).to.deep.equal([1, 2]);
      expect((await rejection(callWith(caller, "x"))).code).to.equal("ProcessorCrashed");
      expect(await counts(caller, 2)).to.deep.equal([1, 2]);
    });

    it(`are never shared by two Processors, nor by two loads of one (${isolation})`, async () => {
      await using backend = backendOf({ counting }, { maxWorkers: 1, allowIsolation: ["Inline"] });
      const spec = wasmSpec("counting", { ...where, reuse: 100 });
      await using one = await callerOf(backend, spec);
      await using again = await callerOf(backend, spec);
      await using other = await callerOf(backend, { ...spec, name: "other" });
      await using elsewhere = await callerOf(backend, { ...spec, namespace: "elsewhere" });
      for (const caller of [one, again, other, elsewhere]) expect(await counts(caller, 2)).to.deep.equal([1, 2]);
      for (const caller of [one, again, other, elsewhere]) expect(await served(caller)).to.equal(3);
      expect(backend.stats.modules.misses).to.equal(1);
    });
  }

  it("are kept by a worker as long as they fit together, the last used longest", async () => {
    await using backend = backendOf({ large }, { maxWorkers: 1, callMemoryBytes: 2 ** 30 });
    const limits = { maxMemoryBytes: 128 * mebibyte, fuel };
    const loads = [1, 2, 3].map(() => callerOf(backend, wasmSpec("large", { reuse: 100, limits })));
    const callers = await Promise.all(loads);
    for (const caller of callers) expect(await served(caller)).to.equal(1);
    // Two times 100 MiB fit into 256 MiB, and the first of the three had to go.
    expect(await served(callers[2] as Caller)).to.equal(2);
    expect(await served(callers[1] as Caller)).to.equal(2);
    expect(await served(callers[0] as Caller)).to.equal(1);
    for (const caller of callers) await caller[Symbol.asyncDispose]();
  });

  it("answer the same in the main thread as in a worker, with the same fuel", async () => {
    await using backend = backendOf({ reference }, { allowIsolation: ["Inline"] });
    const limits = { maxMemoryBytes: 4 * mebibyte, fuel: 5_000_000 };
    await using worker = await backend.load(wasmSpec("reference", { limits }), never);
    await using main = await backend.load(wasmSpec("reference", { ...inline, limits }), never);
    for (const behaviour of ["uppercase", "fail", "trap", "spin", "metadata", "log", "secret", "nonsense"]) {
      const answers: unknown[] = [];
      for (const processor of [worker, main]) {
        const units: number[] = [];
        const logged: string[] = [];
        const context: BackendContext = {
          ...contextOf((used) => units.push(used)),
          log: (text) => logged.push(text),
        };
        const request = { payload: textPayload("hello"), metadata: { key: "value" }, options: { behaviour } };
        const answer = await processor.process(request, context).then(
          async (response) => (response.ok ? [response.metadata, await outputOf(response)] : response),
          (error: { code: string; message: string }) => [error.code, error.message],
        );
        answers.push({ answer, units, logged });
      }
      expect(answers[1], behaviour).to.deep.equal(answers[0]);
      expect(JSON.stringify(answers[0])).to.match(/"units":\[[1-9]\d*\]/);
    }
  });

  it("are in the main thread only where that is allowed, with little fuel, and without what may wait", async () => {
    await using strict = backendOf({ reference });
    const refused = async (backend: typeof strict, changes: Partial<WasmModule>) => {
      const error = await rejection(backend.load(wasmSpec("reference", { ...inline, ...changes }), never));
      expect(error.code).to.equal("InvalidInput");
      return error.message;
    };
    expect(await refused(strict, {})).to.include("--allow-isolation=Inline");
    await using open = backendOf({ reference }, { allowIsolation: ["Inline"], modulesDir: fixtures });
    expect(await refused(open, { limits: { maxMemoryBytes: mebibyte, fuel: 5_000_001 } })).to.include("5000000");
    const capabilities = { allowedHosts: ["example.com"], env: {}, config: {} };
    expect(await refused(open, { capabilities })).to.include("allowedHosts");
    const secretEnv = { allowedHosts: [], env: {}, config: {}, secretEnv: ["TOKEN"] };
    expect(await refused(open, { capabilities: secretEnv })).to.include("allowedHosts, env");
    const limits = { maxMemoryBytes: 16 * mebibyte, fuel: 5_000_000 };
    const source = { kind: "File", file: "wasi-probe.wasm" } as const;
    expect(await refused(open, { source, limits, entrypoint: "print" })).to.include("WASI");
    await using wide = backendOf({ reference: padded(1024 * 1024 + 1) }, { allowIsolation: ["Inline"] });
    expect(await refused(wide, {})).to.include("1048576 bytes at most");
  });

  it("have no more memory in the main thread than that can spare", async () => {
    await using backend = backendOf({ reference }, { allowIsolation: ["Inline"] });
    const limits = (maxMemoryBytes: number) => ({ ...inline, limits: { maxMemoryBytes, fuel: 5_000_000 } });
    for (const bytes of [16 * mebibyte + 1, 64 * mebibyte, 4096 * mebibyte]) {
      const error = await rejection(backend.load(wasmSpec("reference", limits(bytes)), never));
      expect(error.code).to.equal("SandboxViolation");
      expect(error.message).to.include("spec.wasm.limits.memory").and.include("16Mi").and.include(String(bytes));
    }
    await using caller = await callerOf(backend, wasmSpec("reference", limits(16 * mebibyte)));
    expect(await outputOf(await callWith(caller, "a", { behaviour: "uppercase" }))).to.equal("A");
  });

  it("have no more memory than all calls together may have", async () => {
    await using backend = backendOf({ reference }, { callMemoryBytes: 32 * mebibyte });
    const limits = (mebibytes: number) => ({ limits: { maxMemoryBytes: mebibytes * mebibyte, fuel } });
    const error = await rejection(backend.load(wasmSpec("reference", limits(33)), never));
    expect(error.code).to.equal("SandboxViolation");
    expect(error.message)
      .to.include("spec.wasm.limits.memory")
      .and.include(String(32 * mebibyte));
    await using caller = await callerOf(backend, wasmSpec("reference", limits(32)));
    expect(await outputOf(await callWith(caller, "a", { behaviour: "uppercase" }))).to.equal("A");
  });

  it("are refused capabilities that their module has no way to use, not let go on without", async () => {
    await using backend = backendOf({ reference }, { modulesDir: fixtures });
    const none = { allowedHosts: [], env: {}, config: {} };
    const limits = { maxMemoryBytes: 64 * mebibyte, fuel };
    const loaded = async (file: string, given: Partial<WasmModule["capabilities"]>) => {
      const source = { kind: "File", file } as const;
      const spec = wasmSpec("reference", { source, limits, capabilities: { ...none, ...given } });
      return await backend.load(spec, never).then(
        async (processor) => {
          await processor[Symbol.asyncDispose]();
          return "loaded";
        },
        (error: unknown) => String(error),
      );
    };
    const hosts = { allowedHosts: ["example.com"] };
    const config = { config: { top: "10" } };
    for (const [file, given, outcome] of [
      ["reference.wasm", hosts, "allowedHosts"],
      ["reference.wasm", config, "config"],
      ["reference.wasm", { env: { LEVEL: "info" } }, "env"],
      ["reference.wasm", { secretEnv: ["TOKEN"] }, "env"],
      ["reference.wasm", { randomSeed: "melon" }, "randomSeed"],
      ["reference-wapc.wasm", hosts, "allowedHosts"],
      ["reference-wapc.wasm", config, "loaded"],
      ["reference-extism.wasm", { ...hosts, ...config }, "loaded"],
      ["reference-wasi-go.wasm", { env: { LEVEL: "info" }, randomSeed: "melon" }, "loaded"],
    ] as const) {
      expect(await loaded(file, given), `${file} with ${Object.keys(given).join(", ")}`).to.include(outcome);
    }
  });

  it("let the event loop have its turn between calls in the main thread", async () => {
    await using backend = backendOf({ spinning }, { allowIsolation: ["Inline"] });
    await using caller = await callerOf(backend, wasmSpec("spinning", inline, { maxConcurrency: 1000 }));
    let turns = 0;
    const count = setInterval(() => {
      turns += 1;
    }, 0);
    const calls = Array.from({ length: 100 }, () => rejection(callWith(caller, "a")));
    const errors = await Promise.all(calls).finally(() => clearInterval(count));
    for (const error of errors) expect(error.code).to.equal("SandboxViolation");
    expect(turns).to.be.greaterThan(5);
  });

  it("are not called in the main thread for who has gone while the loop was busy", async () => {
    const calls = new InlineCalls(systemPorts.clock);
    const call = { signal: AbortSignal.abort(new Error("gone")), time: undefined } as unknown as WasmCall;
    const error: unknown = await calls.call(call).catch((thrown: unknown) => thrown);
    expect(error).to.have.property("message", "gone");
  });

  it("get the secrets that are for their environment there, and not as secrets", async () => {
    const asked: WasmCall[] = [];
    const processor = new WasmProcessor(wasmSpec("env"), {
      calls: {
        call: (call) => {
          asked.push(call);
          return Promise.resolve({
            result: { kind: "Output", payload: new Uint8Array(), contentType: "text/plain", metadata: {} },
            fuel: 7,
          });
        },
      },
      target: {} as WasmCall["target"],
      capabilities: { allowedHosts: [], env: { LOG: "info", TOKEN: "none" }, config: {} },
      module: { digest: "sha256:0", bytes: 1, source: "test" },
    });
    const secrets = { "env:TOKEN": "hidden", password: "secret" };
    const units: number[] = [];
    const context = { ...contextOf((used) => units.push(used)), secrets };
    await processor.process({ payload: new BytesPayload(new Uint8Array(), "a/b"), metadata: {}, options: {} }, context);
    expect(asked[0]?.request.secrets).to.deep.equal({ password: "secret" });
    expect(asked[0]?.request.capabilities.env).to.deep.equal({ LOG: "info", TOKEN: "hidden" });
    expect(units).to.deep.equal([7]);
  });
});

function contextOf(reportFuel: (units: number) => void): BackendContext {
  const execution = { namespace: "test", name: "run", uid: "u" };
  const common = { execution, step: "step", attempt: 1, idempotencyKey: "u/step", timeoutMs: 10_000, signal: never };
  return { ...common, secrets: {}, log: () => undefined, reportFuel };
}
