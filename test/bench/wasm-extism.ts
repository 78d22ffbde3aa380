// wasm-extism: the adapter of Extism's ABI in this process, metered, 1 KiB and 64 KiB in and out: an instance that goes on being used
// (`reuse`), and a fresh one per call.
// Baseline: @extism/extism called in this process as its documentation shows: one plugin that goes on being used, and one made anew per call
// of the same compiled module. Fair: the same module (reference-extism.wasm, built with the PDK for Rust, `uppercase`), the same bytes, the same
// configuration; both sides check each result's length and its last byte.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createPlugin, type Plugin } from "@extism/extism";
import { extismAbi } from "../../backends/wasm/abis/extism/extism.ts";
import type { GuestRequest } from "../../backends/wasm/abis/guest.ts";
import { GuestModule } from "../../backends/wasm/abis/guest-module.ts";
import { admit } from "../../backends/wasm/admission/admit.ts";
import { type Bench, compare, type Row } from "./bench.ts";
import { requestOf, unheard } from "./guest-request.ts";

const bytes = new Uint8Array(readFileSync(join(import.meta.dirname, "../fixtures/wasm/reference-extism.wasm")));
const maxMemoryBytes = 64 * 1024 * 1024;
const bar = 1.0;

function pluginOf(module: WebAssembly.Module, request: GuestRequest): Promise<Plugin> {
  const config = { "millrace.options": JSON.stringify(request.options), "millrace.content_type": request.contentType };
  return createPlugin({ wasm: [{ module }] }, { config, runInWorker: false });
}

type Lives = "Reused" | "Fresh";

async function row(name: string, lives: Lives, payloadBytes: number, units: number): Promise<Row> {
  const request = requestOf(new Uint8Array(payloadBytes).fill(0x61));
  const admitted = admit({ bytes, maxMemoryBytes, abi: "Extism", entrypoint: "process" });
  const limits = { maxMemoryBytes, fuel: 1_000_000_000 };
  const adapter = new GuestModule(extismAbi, {
    ...admitted,
    entrypoint: "process",
    limits,
    reuse: lives === "Fresh" ? 1 : 10_000,
  });
  const module = new WebAssembly.Module(bytes);
  const kept = await pluginOf(module, request);
  const isRight = (output: Uint8Array) => output.byteLength === payloadBytes && output[payloadBytes - 1] === 0x41;
  const measured = await compare({
    units,
    rounds: 15,
    ours: () => {
      let done = 0;
      for (let unit = 0; unit < units; unit++) {
        const { result } = adapter.call(request, unheard);
        if (result.kind === "Output" && isRight(result.payload)) done += 1;
      }
      return done;
    },
    baseline: async () => {
      let done = 0;
      for (let unit = 0; unit < units; unit++) {
        const plugin = lives === "Fresh" ? await pluginOf(module, request) : kept;
        const output = await plugin.call("process", request.payload);
        if (plugin !== kept) await plugin.close();
        if (output !== null && isRight(output.bytes())) done += 1;
      }
      return done;
    },
  });
  await kept.close();
  const ratio = measured.baselineUs / measured.oursUs;
  return {
    name: `wasm-extism/${name}`,
    ratio,
    bar: `>= ${bar}`,
    ok: ratio >= bar,
    metrics: { callUs: measured.oursUs },
    baseline: { callUs: measured.baselineUs },
  };
}

export const bench: Bench = async () => [
  await row("1KiB", "Reused", 1024, 500),
  await row("64KiB", "Reused", 64 * 1024, 100),
  await row("1KiB-fresh", "Fresh", 1024, 200),
];
