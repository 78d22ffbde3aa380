// wasm-direct: the adapter of the Direct ABI in this process, a fresh instance per call, 1 KiB and 64 KiB in and out.
// Baseline: what somebody would write by hand around the same wasm: compile the module once, un-admitted (neither capped nor
// watched), and for each call make an instance with imports of its own, copy the bytes in, call, copy the result out. Fair:
// the same module (reference.wasm, `uppercase`), the same bytes, the same instance per call; both sides check each result's length.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { directAbi } from "../../backends/wasm/abis/direct.ts";
import type { GuestRequest } from "../../backends/wasm/abis/guest.ts";
import { GuestModule } from "../../backends/wasm/abis/guest-module.ts";
import { admit } from "../../backends/wasm/admission/admit.ts";
import { type Bench, compare, type Row } from "./bench.ts";
import { requestOf, unheard } from "./guest-request.ts";

const bytes = new Uint8Array(readFileSync(join(import.meta.dirname, "../fixtures/wasm/reference.wasm")));
const maxMemoryBytes = 64 * 1024 * 1024;
const bar = 1.2;

interface Exports {
  readonly memory: WebAssembly.Memory;
  readonly millrace_alloc: (length: number) => number;
  readonly process: (pointer: number, length: number) => bigint;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** One call by hand; the functions that this behaviour never calls are there because the module imports them. */
function byHand(module: WebAssembly.Module, request: GuestRequest): Uint8Array {
  let memory: WebAssembly.Memory | undefined;
  let contentType = "";
  const write = (text: string, pointer: number, capacity: number) => {
    const encoded = encoder.encode(text);
    if (memory !== undefined) new Uint8Array(memory.buffer, pointer, capacity).set(encoded.subarray(0, capacity));
    return encoded.byteLength;
  };
  const unused = () => 0;
  const instance = new WebAssembly.Instance(module, {
    millrace: {
      options: (pointer: number, capacity: number) => write(JSON.stringify(request.options), pointer, capacity),
      content_type: (pointer: number, capacity: number) => write(request.contentType, pointer, capacity),
      set_content_type: (pointer: number, length: number) => {
        if (memory !== undefined) contentType = decoder.decode(new Uint8Array(memory.buffer, pointer, length));
      },
      context: unused,
      metadata_value: unused,
      set_metadata: unused,
      set_error: unused,
      secret: unused,
      log: unused,
    },
  });
  const exports = instance.exports as unknown as Exports;
  memory = exports.memory;
  const pointer = exports.millrace_alloc(request.payload.byteLength);
  new Uint8Array(memory.buffer).set(request.payload, pointer);
  const packed = BigInt.asUintN(64, exports.process(pointer, request.payload.byteLength));
  const start = Number(packed >> 32n);
  if (contentType !== request.contentType) throw new Error(`by hand the content type became ${contentType}`);
  return new Uint8Array(memory.buffer).slice(start, start + Number(packed & 0xffff_ffffn));
}

async function row(name: string, payloadBytes: number, units: number): Promise<Row> {
  const request = requestOf(new Uint8Array(payloadBytes).fill(0x61));
  const admitted = admit({ bytes, maxMemoryBytes, abi: "Direct", entrypoint: "process" });
  const limits = { maxMemoryBytes, fuel: 1_000_000_000 };
  const adapter = new GuestModule(directAbi, { ...admitted, entrypoint: "process", limits, reuse: 1 });
  const compiled = new WebAssembly.Module(bytes);
  const round = (call: () => Uint8Array) => () => {
    let done = 0;
    for (let unit = 0; unit < units; unit++) {
      const output = call();
      if (output.byteLength === payloadBytes && output[payloadBytes - 1] === 0x41) done += 1;
    }
    return done;
  };
  const measured = await compare({
    units,
    rounds: 25,
    ours: round(() => {
      const { result } = adapter.call(request, unheard);
      if (result.kind !== "Output") throw new Error(`the module answered ${result.kind}`);
      return result.payload;
    }),
    baseline: round(() => byHand(compiled, request)),
  });
  const ratio = measured.oursUs / measured.baselineUs;
  return {
    name: `wasm-direct/${name}`,
    ratio,
    bar: `<= ${bar}`,
    ok: ratio <= bar,
    metrics: { callUs: measured.oursUs },
    baseline: { callUs: measured.baselineUs },
  };
}

export const bench: Bench = async () => [await row("1KiB", 1024, 1000), await row("64KiB", 64 * 1024, 600)];
