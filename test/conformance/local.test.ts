import { fileURLToPath } from "node:url";
import type { Implementation } from "../../backends/backend.ts";
import { referenceName } from "../../backends/conformance/cases.ts";
import { createLocalBackend } from "../../backends/local/backend.ts";
import { systemPorts } from "../../engine/clock.ts";
import { referenceBackend } from "./reference.ts";
import { type ConformanceTarget, describeConformance } from "./rows.ts";

function builtin(): Promise<ConformanceTarget> {
  const backend = referenceBackend();
  const implementation = { kind: "Builtin", name: referenceName } as const;
  return Promise.resolve({ backend, implementation, [Symbol.asyncDispose]: () => backend[Symbol.asyncDispose]() });
}

function local(implementation: Implementation): () => Promise<ConformanceTarget> {
  return () => {
    const backend = createLocalBackend({
      version: "1.0.0",
      ports: systemPorts,
      pluginsDir: fileURLToPath(new URL("./modules", import.meta.url)),
      allowIsolation: ["Inline"],
    });
    return Promise.resolve({ backend, implementation, [Symbol.asyncDispose]: () => backend[Symbol.asyncDispose]() });
  };
}

const module = { kind: "Module", file: "reference.mjs", export: "process" } as const;

describeConformance("conformance: a built-in", builtin);
describeConformance("conformance: an ES module in a worker thread", local({ ...module, isolation: "Thread" }));
describeConformance("conformance: an ES module in this thread", local({ ...module, isolation: "Inline" }));
