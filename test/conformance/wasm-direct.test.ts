import { join } from "node:path";
import { createWasmBackend } from "../../backends/wasm/backend.ts";
import { systemPorts } from "../../engine/clock.ts";
import { type ConformanceTarget, describeConformance } from "./rows.ts";

async function start(): Promise<ConformanceTarget> {
  const backend = createWasmBackend({
    ports: systemPorts,
    modulesDir: join(import.meta.dirname, "../fixtures/wasm"),
    readConfigMapKey: () => Promise.reject(new Error("this suite has no ConfigMaps")),
  });
  return {
    backend,
    implementation: {
      kind: "WASM",
      source: { kind: "File", file: "reference.wasm" },
      abi: "Auto",
      entrypoint: "process",
      maxMemoryBytes: 16 * 1024 * 1024,
    },
    [Symbol.asyncDispose]: () => backend[Symbol.asyncDispose](),
  };
}

describeConformance("Conformance: WASM, Direct ABI", start);
