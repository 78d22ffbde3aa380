// wasm-direct: the adapter of the Direct ABI in this process, 1 KiB and 64 KiB in and out, with a fresh instance per call and with one that
// goes on being used (`reuse`).
// Baseline: what somebody would write by hand around the same wasm: compile the module once, un-admitted (neither capped nor
// watched), and for each call make an instance with imports of its own, copy the bytes in, call, copy the result out; for the
// rows with reuse the call alone, in one instance. Fair: the same module (reference.wasm, `uppercase`), the same bytes, as many instances;
// both sides check each result's length.
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
/** How many calls an instance serves where it is reused, on both sides. */
const servedByOne = 200;
const bars = { fresh: 1.2, reused: 1.4 } as const;

interface Exports {
  readonly memory: WebAssembly.Memory;
  readonly millrace_alloc: (length: number) => number;
  readonly process: (pointer: number, length: number) => bigint;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Calls by hand; the functions that this behaviour never calls are there because the module imports them. */
class ByHand {
  readonly #request: GuestRequest;
  readonly #exports: Exports;
  #contentType = "";

  constructor(module: WebAssembly.Module, request: GuestRequest) {
    this.#request = request;
    const unused = () => 0;
    const instance = new WebAssembly.Instance(module, {
      millrace: {
        options: (pointer: number, capacity: number) => this.#write(JSON.stringify(request.options), pointer, capacity),
        content_type: (pointer: number, capacity: number) => this.#write(request.contentType, pointer, capacity),
        set_content_type: (pointer: number, length: number) => {
          this.#contentType = decoder.decode(new Uint8Array(this.#exports.memory.buffer, pointer, length));
        },
        context: unused,
        metadata_value: unused,
        set_metadata: unused,
        set_error: unused,
        secret: unused,
        log: unused,
      },
    });
    this.#exports = instance.exports as unknown as Exports;
  }

  call(): Uint8Array {
    const { payload, contentType } = this.#request;
    const { memory, millrace_alloc: allocate, process } = this.#exports;
    const pointer = allocate(payload.byteLength);
    new Uint8Array(memory.buffer).set(payload, pointer);
    const packed = BigInt.asUintN(64, process(pointer, payload.byteLength));
    const start = Number(packed >> 32n);
    if (this.#contentType !== contentType) throw new Error(`by hand the content type became ${this.#contentType}`);
    return new Uint8Array(memory.buffer).slice(start, start + Number(packed & 0xffff_ffffn));
  }

  #write(text: string, pointer: number, capacity: number): number {
    const encoded = encoder.encode(text);
    new Uint8Array(this.#exports.memory.buffer, pointer, capacity).set(encoded.subarray(0, capacity));
    return encoded.byteLength;
  }
}

async function row(instances: keyof typeof bars, name: string, payloadBytes: number, units: number): Promise<Row> {
  const request = requestOf(new Uint8Array(payloadBytes).fill(0x61));
  const admitted = admit({ bytes, maxMemoryBytes, abi: "Direct", entrypoint: "process" });
  const limits = { maxMemoryBytes, fuel: 1_000_000_000 };
  const adapter = new GuestModule(directAbi, {
    ...admitted,
    entrypoint: "process",
    limits,
    reuse: instances === "fresh" ? 1 : servedByOne,
  });
  const compiled = new WebAssembly.Module(bytes);
  let byHand = new ByHand(compiled, request);
  let served = 0;
  const baseline = () => {
    served += 1;
    if (instances === "fresh" || served % servedByOne === 0) byHand = new ByHand(compiled, request);
    return byHand.call();
  };
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
    baseline: round(baseline),
  });
  const ratio = measured.oursUs / measured.baselineUs;
  const bar = bars[instances];
  return {
    name: `wasm-direct/${name}`,
    ratio,
    bar: `<= ${bar}`,
    ok: ratio <= bar,
    metrics: { callUs: measured.oursUs },
    baseline: { callUs: measured.baselineUs },
  };
}

export const bench: Bench = async () => [
  await row("fresh", "1KiB", 1024, 1000),
  await row("fresh", "64KiB", 64 * 1024, 600),
  await row("reused", "1KiB-reused", 1024, 5000),
  await row("reused", "64KiB-reused", 64 * 1024, 600),
];
