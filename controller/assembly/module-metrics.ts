import type { ModuleCaches, ModuleCacheTier } from "../../backends/backend.ts";
import type { MetricSource } from "../runtime/metrics.ts";

/** Where the caches of modules are seen; undefined: none was needed so far. */
export interface ModuleCachesView {
  readonly moduleCaches: ModuleCaches | undefined;
}

/** How large the caches of WASM modules are. */
export function moduleGauges(view: ModuleCachesView): readonly MetricSource[] {
  return [ofTiers("bytes", "Bytes of WASM modules in the caches.", view, ({ bytes }) => bytes)];
}

/** How the caches of WASM modules serve, and what compiling takes. */
export function moduleCounters(view: ModuleCachesView): readonly MetricSource[] {
  return [
    ofTiers("hits_total", "WASM modules that a cache had.", view, ({ hits }) => hits),
    ofTiers("misses_total", "WASM modules that a cache did not have.", view, ({ misses }) => misses),
    ofTiers("evictions_total", "WASM modules that a cache dropped for want of room.", view, (tier) => tier.evictions),
    ofAll("compile_seconds_sum", "Seconds that admitting WASM modules took.", view, (all) => all.compileSeconds),
    ofAll("compile_seconds_count", "WASM modules that were admitted.", view, ({ compiled }) => compiled),
    ofAll("modules_refused_total", "WASM modules that were refused.", view, ({ refused }) => refused),
  ];
}

function ofTiers(
  name: string,
  help: string,
  view: ModuleCachesView,
  read: (tier: ModuleCacheTier) => number,
): MetricSource {
  return {
    name: `millrace_wasm_module_cache_${name}`,
    help,
    labels: ["tier"],
    *read() {
      const { memory, disk } = view.moduleCaches ?? {};
      if (memory !== undefined) yield { labels: { tier: "memory" }, value: read(memory) };
      if (disk !== undefined) yield { labels: { tier: "disk" }, value: read(disk) };
    },
  };
}

function ofAll(name: string, help: string, view: ModuleCachesView, read: (all: ModuleCaches) => number): MetricSource {
  return {
    name: `millrace_wasm_${name}`,
    help,
    labels: [],
    *read() {
      const caches = view.moduleCaches;
      if (caches !== undefined) yield { labels: {}, value: read(caches) };
    },
  };
}
