import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { Registry } from "prom-client";
import { ByteBudget } from "../../../backends/byte-budget.ts";
import { noSecrets } from "../../../backends/secrets.ts";
import type { Controllers } from "../../../controller/assembly/controllers.ts";
import { observe } from "../../../controller/assembly/observability.ts";
import type { Runtime } from "../../../controller/assembly/runtime.ts";
import { type ProcessorEntry, Register } from "../../../controller/catalog.ts";
import { StoreBudget } from "../../../controller/payloads/store-budget.ts";
import { Versions } from "../../../controller/processor/versions.ts";
import type { Logger } from "../../../controller/runtime/logger.ts";
import { createMetrics, noMetrics } from "../../../controller/runtime/metrics.ts";
import type { ObjectKey } from "../../../controller/runtime/object-key.ts";
import { systemPorts } from "../../../engine/clock.ts";
import { attemptOf, requestOf, scripted } from "../../backends/support.ts";
import { apiSpec, candidate } from "../processor/builders.ts";

const logger: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => logger };

describe("the controller's metrics", () => {
  it("tell how many calls run and wait, and how much of the payload budget they have taken", async () => {
    const budget = new ByteBudget();
    const entries = new Register<ProcessorEntry>();
    const secrets = { current: () => noSecrets };
    const versions = new Versions({ ports: systemPorts, logger, metrics: noMetrics, budget, entries, secrets });
    const endless = scripted(
      (_request, { signal }) =>
        new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    );
    const processor = { ...endless, maxConcurrency: 2 };
    const version = versions.wrap(candidate(1, apiSpec()), processor);
    versions.switchTo("default/words" as ObjectKey, version);
    const cancel = new AbortController();
    for (let call = 0; call < 3; call += 1) {
      version.caller.call(attemptOf(), requestOf("12345"), cancel.signal).catch(() => undefined);
    }
    const registry = new Registry();
    const runtime = { registry, metrics: createMetrics(registry), budget } as unknown as Runtime;
    const controllers = {
      all: [],
      pools: new Map(),
      versions,
      execution: { load: { running: 0, waiting: 0 }, queued: {} },
      configMaps: new Map(),
      moduleCaches: {
        memory: { bytes: 100, hits: 3, misses: 2, evictions: 1 },
        compiled: 2,
        compileSeconds: 0.5,
        refused: 1,
      },
    };
    await using opened = new AsyncDisposableStack();
    const store = { budget: new StoreBudget({ totalBytes: 1_000 }, async () => {}) };
    store.budget.take("uid", 400);
    await observe({ runtime, controllers: controllers as unknown as Controllers, store, options: {} }, opened);
    const text = await registry.metrics();
    const taken = 2 * (5 + version.caller.limits.maxOutputBytes);
    for (const line of [
      'millrace_calls{state="inFlight"} 2',
      'millrace_calls{state="waiting"} 1',
      'millrace_calls{state="rejected"} 0',
      'millrace_calls{state="waitingForBytes"} 0',
      `millrace_payload_budget_bytes{state="taken"} ${taken}`,
      'millrace_payload_store_bytes{state="used"} 400',
      'millrace_payload_store_bytes{state="limit"} 1000',
      `millrace_payload_budget_bytes{state="free"} ${budget.totalBytes - taken}`,
      'millrace_wasm_module_cache_bytes{tier="memory"} 100',
      'millrace_wasm_module_cache_hits_total{tier="memory"} 3',
      'millrace_wasm_module_cache_evictions_total{tier="memory"} 1',
      "millrace_wasm_compile_seconds_sum 0.5",
      "millrace_wasm_compile_seconds_count 2",
      "millrace_wasm_modules_refused_total 1",
    ]) {
      expect(text).to.include(line);
    }
    expect(await registry.metrics(), "what somebody else counts is not added up").to.equal(text);
    const page = await readFile(join(import.meta.dirname, "../../../docs/controller.md"), "utf8");
    const names = registry.getMetricsAsArray().map(({ name }) => name);
    expect(names.filter((name) => !page.includes(`\`${name}\``))).to.deep.equal([]);
    cancel.abort();
    await versions[Symbol.asyncDispose]();
  });
});
