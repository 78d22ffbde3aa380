// A process that shares a cache's folder with others: writes and reads modules of a small set, more than the budget has room for.

import { CacheFolder } from "../../../../backends/wasm/modules/cache-folder.ts";
import { DiskCache } from "../../../../backends/wasm/modules/disk-cache.ts";
import { systemPorts } from "../../../../engine/clock.ts";
import { digestOf } from "../../../../engine/payload.ts";

const [dir = "", seed = "1"] = process.argv.slice(2);
let warnings = 0;
const folder = new CacheFolder({
  dir,
  clock: systemPorts.clock,
  warn: () => {
    warnings += 1;
  },
});
const cache = new DiskCache({ folder, maxBytes: 20_000, maxModuleBytes: 1000 });
let state = Number(seed);
let hits = 0;
let wrong = 0;
for (let round = 0; round < 400; round++) {
  state = (state * 48_271) % 2_147_483_647;
  const bytes = new Uint8Array(1000).fill(state % 40);
  const digest = digestOf(bytes);
  if (round % 2 === 0) await cache.write(digest, bytes);
  const found = await cache.read(digest);
  if (found !== undefined) hits += 1;
  if (found !== undefined && digestOf(found) !== digest) wrong += 1;
}
await cache[Symbol.asyncDispose]();
console.log(JSON.stringify({ hits, wrong, warnings }));
