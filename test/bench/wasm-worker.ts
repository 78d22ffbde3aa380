// wasm-worker: calls of one module through the backend's workers, 1 KiB in and out, 16 in flight.
// Baseline: one bare worker thread with the same wasm, un-admitted, by postMessage with 16 in flight: an instance per call, bytes in, call,
// bytes out. Fair: the same module (reference.wasm, `uppercase`), the same bytes, an instance a call on both sides; both check each result.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { noCapabilities } from "../../backends/wasm/abis/guest.ts";
import { createWasmBackend } from "../../backends/wasm/backend.ts";
import { systemPorts } from "../../engine/clock.ts";
import { BytesPayload, textType } from "../../engine/payload.ts";
import { type Bench, compare } from "./bench.ts";

const file = "reference.wasm";
const modulesDir = join(import.meta.dirname, "../fixtures/wasm");
const inFlight = 16;
const units = 2000;
const payloadBytes = 1024;
const bar = 0.9;

const workerCode = `
const { parentPort, workerData } = require("node:worker_threads");
const module = new WebAssembly.Module(workerData);
const options = new TextEncoder().encode('{"behaviour":"uppercase"}');
const unused = () => 0;
parentPort.on("message", ({ id, payload }) => {
  let memory;
  const instance = new WebAssembly.Instance(module, { millrace: {
    options: (pointer, capacity) => {
      new Uint8Array(memory.buffer, pointer, capacity).set(options.subarray(0, capacity));
      return options.byteLength;
    },
    content_type: unused, set_content_type: unused, context: unused, metadata_value: unused, set_metadata: unused,
    set_error: unused, secret: unused, log: unused,
  } });
  memory = instance.exports.memory;
  const pointer = instance.exports.millrace_alloc(payload.byteLength);
  new Uint8Array(memory.buffer).set(payload, pointer);
  const packed = BigInt.asUintN(64, instance.exports.process(pointer, payload.byteLength));
  const start = Number(packed >> 32n);
  parentPort.postMessage({ id, output: new Uint8Array(memory.buffer).slice(start, start + Number(packed & 0xffffffffn)) });
});`;

/** Makes `units` calls, so many at a time, and counts those that gave what they should. */
async function all(call: () => Promise<Uint8Array>): Promise<number> {
  let left = units;
  let done = 0;
  const lane = async () => {
    while (left > 0) {
      left -= 1;
      const output = await call();
      if (output.byteLength === payloadBytes && output[payloadBytes - 1] === 0x41) done += 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  return done;
}

/** One worker, and the calls that it has not answered. */
function bareCalls(worker: Worker, payload: Uint8Array): () => Promise<Uint8Array> {
  const waiting = new Map<number, (output: Uint8Array) => void>();
  let lastId = 0;
  worker.on("message", ({ id, output }: { id: number; output: Uint8Array }) => {
    waiting.get(id)?.(output);
    waiting.delete(id);
  });
  return () => {
    lastId += 1;
    const id = lastId;
    return new Promise((resolve) => {
      waiting.set(id, resolve);
      worker.postMessage({ id, payload });
    });
  };
}

export const bench: Bench = async () => {
  await using backend = createWasmBackend({
    ports: systemPorts,
    modulesDir,
    readConfigMapKey: () => Promise.reject(new Error("there are no ConfigMaps")),
  });
  const { signal } = new AbortController();
  await using processor = await backend.load(
    {
      namespace: "bench",
      name: "uppercase",
      intent: "Transform",
      implementation: {
        kind: "WASM",
        source: { kind: "File", file },
        abi: "Direct",
        entrypoint: "process",
        limits: { maxMemoryBytes: 64 * 1024 * 1024, fuel: 1_000_000_000 },
        capabilities: noCapabilities,
        reuse: 1,
        isolation: "Worker",
      },
      limits: { timeoutMs: 30_000, maxInputBytes: 4096, maxOutputBytes: 4096, maxConcurrency: inFlight },
    },
    signal,
  );
  const bytes = new Uint8Array(payloadBytes).fill(0x61);
  const request = { payload: new BytesPayload(bytes, textType), metadata: {}, options: { behaviour: "uppercase" } };
  const execution = { namespace: "bench", name: "run", uid: "00000000-0000-0000-0000-000000000001" };
  const call = { execution, step: "step", attempt: 1, idempotencyKey: "key", timeoutMs: 30_000, secrets: {} };
  const worker = new Worker(workerCode, { eval: true, workerData: readFileSync(join(modulesDir, file)) });
  const bare = bareCalls(worker, bytes);
  const measured = await compare({
    units,
    ours: () =>
      all(async () => {
        const response = await processor.process(request, { ...call, signal, log: () => undefined });
        return response.ok ? await response.payload.bytes(signal) : new Uint8Array();
      }),
    baseline: () => all(bare),
  });
  await worker.terminate();
  const ratio = measured.baselineUs / measured.oursUs;
  return [
    {
      name: "wasm-worker",
      ratio,
      bar: `>= ${bar}`,
      ok: ratio >= bar,
      metrics: { callsPerSecond: 1e6 / measured.oursUs },
      baseline: { callsPerSecond: 1e6 / measured.baselineUs },
    },
  ];
};
