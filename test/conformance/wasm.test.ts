import { join } from "node:path";
import type { WasmModule } from "../../backends/backend.ts";
import { behaviourOf, type ConformanceCase, type ConformanceNeed } from "../../backends/conformance/cases.ts";
import { maxFuel } from "../../backends/wasm/abis/fuel.ts";
import { noCapabilities } from "../../backends/wasm/abis/guest.ts";
import { createWasmBackend } from "../../backends/wasm/backend.ts";
import { maxInlineFuel } from "../../backends/wasm/calls/inline.ts";
import { systemPorts } from "../../engine/clock.ts";
import { type ConformanceTarget, describeConformance } from "./rows.ts";

function started(implementation: ConformanceTarget["implementation"]): () => Promise<ConformanceTarget> {
  return () => {
    const backend = createWasmBackend({
      ports: systemPorts,
      modulesDir: join(import.meta.dirname, "../fixtures/wasm"),
      allowIsolation: ["Inline"],
      readConfigMapKey: () => Promise.reject(new Error("this suite has no ConfigMaps")),
    });
    return Promise.resolve({ backend, implementation, [Symbol.asyncDispose]: () => backend[Symbol.asyncDispose]() });
  };
}

function moduleIn(file: string, rest: Partial<WasmModule> = {}): WasmModule {
  return {
    kind: "WASM",
    source: { kind: "File", file },
    abi: "Auto",
    entrypoint: "process",
    // Those that spin must not run out of it before their time is up.
    limits: { maxMemoryBytes: 16 * 1024 * 1024, fuel: maxFuel },
    capabilities: noCapabilities,
    reuse: 1,
    isolation: "Worker",
    ...rest,
  };
}

/** Fuel ends what runs in Millrace's own thread, before its time could be up. */
const inline = { isolation: "Inline", limits: { maxMemoryBytes: 16 * 1024 * 1024, fuel: maxInlineFuel } } as const;

/** Payload and content type are all that it has words for. */
const beyondDagwood: readonly ConformanceNeed[] = [
  "Options",
  "ContentType",
  "Metadata",
  "Secrets",
  "Context",
  "Failures",
  "Log",
];

/** An entrypoint for each behaviour; of `oversize`, one for each of the two sizes that are asked for. */
function dagwoodEntrypoint(one: ConformanceCase): string {
  const behaviour = behaviourOf(one);
  return behaviour === "oversize" && Number(one.options.bytes) <= one.maxOutputBytes ? "fits" : behaviour;
}

describeConformance("Conformance: WASM, Direct ABI", started(moduleIn("reference.wasm")));
describeConformance("Conformance: WASM, Direct ABI, in Go over WASI", started(moduleIn("reference-wasi-go.wasm")));
for (const [title, file, reuse] of [
  ["Conformance: WASM, Extism, PDK for Rust", "reference-extism.wasm", 1],
  ["Conformance: WASM, Extism, PDK for Rust, with instances reused", "reference-extism.wasm", 1000],
  ["Conformance: WASM, Extism, PDK for AssemblyScript", "reference-extism-as.wasm", 1],
] as const) {
  // AssemblyScript's smallest runtime frees nothing, and its module puts 9,000 characters together one by one.
  const limits = { maxMemoryBytes: 128 * 1024 * 1024, fuel: maxFuel };
  describeConformance(title, started(moduleIn(file, { reuse, limits })));
}
for (const [title, file] of [
  ["Conformance: WASM, Direct ABI, Inline", "reference.wasm"],
  ["Conformance: WASM, Extism, PDK for Rust, Inline", "reference-extism.wasm"],
  ["Conformance: WASM, WaPC, Inline", "reference-wapc.wasm"],
] as const) {
  describeConformance(title, started(moduleIn(file, inline)), ["Time"]);
}
describeConformance("Conformance: WASM, WaPC", started(moduleIn("reference-wapc.wasm")));
describeConformance(
  "Conformance: WASM, WaPC, with instances reused",
  started(moduleIn("reference-wapc.wasm", { reuse: 1000 })),
);
for (const [title, reuse] of [
  ["Conformance: WASM, Dagwood", 1],
  ["Conformance: WASM, Dagwood, with instances reused", 1000],
] as const) {
  const dagwood = (one: ConformanceCase) =>
    moduleIn("reference-dagwood.wasm", { entrypoint: dagwoodEntrypoint(one), reuse });
  describeConformance(title, started(dagwood), beyondDagwood);
}
describeConformance(
  "Conformance: WASM, Dagwood, Inline",
  started((one) => moduleIn("reference-dagwood.wasm", { ...inline, entrypoint: dagwoodEntrypoint(one) })),
  [...beyondDagwood, "Time"],
);
