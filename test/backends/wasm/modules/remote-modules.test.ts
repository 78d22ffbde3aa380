import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { ResolvedSource, WasmPullPolicy } from "../../../../backends/backend.ts";
import { CacheFolder } from "../../../../backends/wasm/modules/cache-folder.ts";
import { DiskCache } from "../../../../backends/wasm/modules/disk-cache.ts";
import { References } from "../../../../backends/wasm/modules/references.ts";
import { RemoteModules, type RemoteRequest } from "../../../../backends/wasm/modules/remote-modules.ts";
import type { RemoteSource } from "../../../../backends/wasm/sources/source.ts";
import { systemPorts } from "../../../../engine/clock.ts";
import { MillraceError } from "../../../../engine/errors.ts";
import { digestOf } from "../../../../engine/payload.ts";
import { rejection } from "../processors.ts";

const never = new AbortController().signal;
const one = new TextEncoder().encode("one");
const two = new TextEncoder().encode("two");

/** A registry of one tag. It knows who may pull. */
class ScriptedRegistry {
  bytes: Uint8Array = one;
  readonly allowed = new Set([""]);
  /** Whether it says the module's digest with the manifest's, as for an artifact. */
  saysDigest = false;
  isDown = false;
  resolves = 0;
  fetches = 0;
  /** What fetches wait for. */
  gate: Promise<void> = Promise.resolve();

  source(credentials = "", moves = true): RemoteSource {
    return {
      kind: "Remote",
      name: "OCI registry/words",
      reference: "oci registry/words:1",
      moves,
      credentials,
      resolve: async () => {
        this.resolves += 1;
        this.#check(credentials);
        const digest = digestOf(this.bytes);
        return {
          version: `manifest of ${digest}`,
          reference: `words@${digest}`,
          ...(this.saysDigest ? { digest } : {}),
        };
      },
      fetch: async (resolution, signal) => {
        this.fetches += 1;
        this.#check(credentials);
        await Promise.race([
          this.gate,
          new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
        ]);
        return { bytes: this.bytes, resolution };
      },
      signatures: () => Promise.resolve({ kind: "Detached", files: [], sought: "nowhere" }),
    };
  }

  #check(credentials: string): void {
    if (this.isDown) throw new MillraceError("Unavailable", "the registry is down");
    if (!this.allowed.has(credentials)) throw new MillraceError("InvalidInput", "the registry refused");
  }
}

describe("WASM modules from behind the network", () => {
  let root: string;
  let registry: ScriptedRegistry;
  let remote: RemoteModules;
  let disk: DiskCache;

  /** As after a restart: nothing but the folder is left. */
  function restart(): void {
    const folder = new CacheFolder({ dir: root, clock: systemPorts.clock, warn: (message) => expect.fail(message) });
    disk = new DiskCache({ folder, maxBytes: 1000, maxModuleBytes: 1000 });
    remote = new RemoteModules({ references: new References(folder), disk, clock: systemPorts.clock });
  }

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "millrace-remote-"));
    registry = new ScriptedRegistry();
    restart();
  });
  afterEach(async () => {
    await remote[Symbol.asyncDispose]();
    await rm(root, { recursive: true, force: true });
  });

  function request(policy?: WasmPullPolicy, changes: Partial<RemoteRequest> = {}): RemoteRequest {
    return {
      namespace: "team",
      processor: "words",
      source: registry.source(),
      policy,
      pin: undefined,
      key: undefined,
      isAtHand: () => false,
      hold: () => undefined,
      ...changes,
    };
  }

  const take = (policy?: WasmPullPolicy, changes?: Partial<RemoteRequest>) =>
    remote.take(request(policy, changes), never);
  const code = async (taken: Promise<unknown>) => (await rejection(taken)).code;

  it("are held from before they are read or written, so that nothing else takes their place", async () => {
    const held: string[] = [];
    const hold = (digest: string) => held.push(digest);
    await take("IfNotPresent", { hold });
    expect(held).to.deep.equal([digestOf(one)]);
    restart();
    await take("IfNotPresent", { hold, isAtHand: () => true });
    expect(held.slice(1)).to.deep.equal([digestOf(one)]);
    registry.bytes = two;
    await take("Always", { hold });
    expect(held.slice(2)).to.deep.equal([digestOf(two)]);
  });

  for (const [what, put] of [
    ["a link to a device that never ends", (path: string) => symlink("/dev/zero", path)],
    ["a pipe", (path: string) => Promise.resolve(execFileSync("mkfifo", [path]))],
    ["a folder", (path: string) => mkdir(path)],
    ["20 GiB", (path: string) => writeFile(path, "").then(() => truncate(path, 20 * 2 ** 30))],
  ] as const) {
    it(`are fetched anew where what was noted of them is ${what}`, async () => {
      await take("IfNotPresent");
      const [record = ""] = await readdir(join(root, "references"));
      await rm(join(root, "references", record));
      await put(join(root, "references", record));
      for (const times of [2, 2]) {
        restart();
        const startMs = performance.now();
        expect((await take("IfNotPresent")).digest).to.equal(digestOf(one));
        expect(performance.now() - startMs).to.be.below(1000);
        expect(registry.resolves).to.equal(times);
      }
    });
  }

  it("are fetched, and found in the cache after a restart without a question, if they need only be present", async () => {
    expect(await take("IfNotPresent")).to.deep.equal({
      digest: digestOf(one),
      bytes: one,
      reference: `words@${digestOf(one)}`,
    });
    registry.isDown = true;
    registry.bytes = two;
    for (const policy of ["IfNotPresent", "Never"] as const) {
      restart();
      const again = await take(policy);
      expect(again.digest).to.equal(digestOf(one));
      expect(again.reference).to.equal(`words@${digestOf(one)}`);
      expect(Buffer.from(again.bytes ?? []).toString()).to.equal("one");
    }
    expect([registry.resolves, registry.fetches]).to.deep.equal([1, 1]);
  });

  it("are asked for each time where they always are, and fetched only when they have changed", async () => {
    await take("Always");
    await take("Always");
    expect([registry.resolves, registry.fetches]).to.deep.equal([2, 1]);
    registry.bytes = two;
    expect((await take("Always")).digest).to.equal(digestOf(two));
    expect([registry.resolves, registry.fetches]).to.deep.equal([3, 2]);
    registry.isDown = true;
    expect(await code(take("Always"))).to.equal("Unavailable");
  });

  it("are always asked for where the reference moves, unless the Processor says otherwise", async () => {
    await take();
    await take();
    await take(undefined, { source: registry.source("", false) });
    await take("IfNotPresent");
    expect(registry.resolves).to.equal(2);
  });

  it("are never fetched where they never are", async () => {
    expect(await code(take("Never"))).to.equal("NotFound");
    expect([registry.resolves, registry.fetches]).to.deep.equal([0, 0]);
  });

  it("are what was resolved for the load that follows, which asks no more", async () => {
    const resolved = await remote.resolve(request("Always"), never);
    expect(resolved.checkAgainMs).to.equal(60_000);
    await take("Always");
    expect(registry.resolves).to.equal(1);
    await take("Always");
    expect(registry.resolves).to.equal(2);
    registry.bytes = two;
    expect((await remote.resolve(request("Always"), never)).version).not.to.equal(resolved.version);
    expect(await remote.resolve(request("IfNotPresent"), never)).to.deep.equal({ version: "oci registry/words:1" });
  });

  it("are asked for once a minute, and no more often, for a hundred Processors that name the same", async () => {
    let nowMs = 0;
    const clock = { now: () => 0, monotonic: () => nowMs };
    remote = new RemoteModules({ references: new References(undefined), disk: undefined, clock });
    const names = Array.from({ length: 100 }, (_, index) => `words-${index}`);
    const ask = (processor: string, before?: ResolvedSource) =>
      remote.resolve(request("Always", { processor }), never, before);
    const told = await Promise.all(names.map((name) => ask(name)));
    expect(registry.resolves).to.equal(1);
    const due = new Map(names.map((name, index) => [name, 48_000 + index * 240] as const));
    for (let seconds = 48; seconds < 648; seconds++) {
      nowMs = seconds * 1000;
      for (const [name, atMs] of due) {
        if (atMs > nowMs) continue;
        const { checkAgainMs = 0 } = await ask(name, told[0]);
        // Nobody hears later of what has moved for that others are asked in its place.
        expect(checkAgainMs).to.be.within(15_000, 60_000);
        due.set(name, nowMs + 0.8 * checkAgainMs);
      }
    }
    expect(registry.resolves).to.be.within(10, 14);
  });

  it("are asked for at once where a Processor is new, whatever another was told, and never by others' word", async () => {
    const before = await remote.resolve(request("Always"), never);
    registry.bytes = two;
    const fresh = await remote.resolve(request("Always", { processor: "new" }), never);
    expect(fresh.version).not.to.equal(before.version);
    expect(registry.resolves).to.equal(2);
    expect((await remote.resolve(request("Always"), never, before)).version).to.equal(fresh.version);
    expect(registry.resolves).to.equal(2);
    await remote.resolve(request("Always", { namespace: "other" }), never, before);
    expect(registry.resolves).to.equal(3);
    const refused = remote.resolve(request("Always", { source: registry.source("no password") }), never, before);
    expect(await code(refused)).to.equal("InvalidInput");
  });

  it("are asked for no more where the pinned one is there, and once more where another is", async () => {
    await take("Always", { pin: digestOf(one) });
    await take("Always", { pin: digestOf(one) });
    expect(registry.resolves).to.equal(1);
    registry.bytes = two;
    expect((await take("IfNotPresent", { pin: digestOf(two) })).digest).to.equal(digestOf(two));
    const error = await rejection(take("Always", { pin: digestOf(one) }));
    expect(error.code).to.equal("InvalidInput");
    expect(error.message).to.include(digestOf(one)).and.include(digestOf(two));
  });

  it("that are private are given to another namespace only when the registry lets it have them", async () => {
    registry.allowed.clear();
    registry.allowed.add("secret");
    const mine = { source: registry.source("secret") };
    await take("IfNotPresent", mine);
    for (const policy of ["IfNotPresent", "Always", "Never"] as const) {
      expect(await code(take(policy, { namespace: "other" }))).to.equal(
        policy === "Never" ? "NotFound" : "InvalidInput",
      );
      expect(await code(take(policy, { namespace: "other", isAtHand: () => true }))).to.be.oneOf([
        "NotFound",
        "InvalidInput",
      ]);
    }
    registry.allowed.add("another secret");
    registry.saysDigest = true;
    const { fetches } = registry;
    const theirs = await take("IfNotPresent", { namespace: "other", source: registry.source("another secret") });
    expect(Buffer.from(theirs.bytes ?? []).toString()).to.equal("one");
    expect(registry.fetches).to.equal(fetches + 1);
  });

  it("are given to nobody whose own registry only names their digest", async () => {
    await take("IfNotPresent");
    const claimed = { version: "manifest", digest: digestOf(one) };
    const forged: RemoteSource = {
      ...registry.source(),
      reference: "oci forger/words:1",
      resolve: () => Promise.resolve(claimed),
      fetch: () => Promise.reject(new MillraceError("NotFound", "the forger has no such layer")),
    };
    const theirs = { namespace: "other", source: forged };
    for (const policy of ["IfNotPresent", "Always"] as const) {
      expect(await code(take(policy, theirs))).to.equal("NotFound");
      expect(await code(take(policy, { ...theirs, isAtHand: () => true }))).to.equal("NotFound");
    }
  });

  it("are not fetched again where a reference that moved names the bytes that its namespace has had of it", async () => {
    registry.saysDigest = true;
    await take("Always");
    const source = registry.source();
    const moved = { ...source, resolve: () => Promise.resolve({ version: "rebuilt", digest: digestOf(one) }) };
    expect((await take("Always", { source: moved })).digest).to.equal(digestOf(one));
    expect(registry.fetches).to.equal(1);
  });

  it("are not given any more to a namespace whose credentials changed, before the registry has taken the new ones", async () => {
    registry.allowed.add("old");
    await take("IfNotPresent", { source: registry.source("old") });
    restart();
    expect(await code(take("IfNotPresent", { source: registry.source("new") }))).to.equal("InvalidInput");
    expect(await code(take("Never", { source: registry.source("new") }))).to.equal("NotFound");
    await take("IfNotPresent", { source: registry.source("old") });
    registry.allowed.add("new");
    await take("IfNotPresent", { source: registry.source("new") });
  });

  it("are fetched anew when their file was damaged, and are not there where they may not be fetched", async () => {
    await take("IfNotPresent");
    await rm(join(root, "sha256"), { recursive: true });
    expect(await code(take("Never"))).to.equal("NotFound");
    registry.bytes = two;
    expect((await take("IfNotPresent")).digest).to.equal(digestOf(two));
  });

  it("are fetched once for all who want them at the same time, and by nobody who has gone", async () => {
    let open = () => {};
    registry.gate = new Promise((resolve) => {
      open = resolve;
    });
    const leaving = new AbortController();
    const wanted = request("IfNotPresent");
    const left = rejection(remote.take(wanted, leaving.signal));
    const staying = [take("IfNotPresent"), take("IfNotPresent")];
    await new Promise((resolve) => setTimeout(resolve, 20));
    leaving.abort(new MillraceError("Cancelled", "gone"));
    expect((await left).code).to.equal("Cancelled");
    open();
    for (const found of await Promise.all(staying)) expect(found.digest).to.equal(digestOf(one));
    expect(registry.fetches).to.equal(1);
  });

  it("need no bytes where they are compiled already", async () => {
    await take("IfNotPresent");
    const found = await take("IfNotPresent", { isAtHand: (digest) => digest === digestOf(one) });
    expect(found).to.deep.equal({ digest: digestOf(one), reference: `words@${digestOf(one)}` });
    expect(disk.stats.hits).to.equal(0);
  });

  it("are checked by their signature before anybody has them, once for each key", async () => {
    let checks = 0;
    const key = (fingerprint: string, isGood: boolean) => ({
      key: {
        fingerprints: ["unused", fingerprint],
        check: () => {
          checks += 1;
          if (!isGood) throw new MillraceError("InvalidInput", "not signed");
          return fingerprint;
        },
      },
    });
    expect(await code(take("IfNotPresent", key("bad", false)))).to.equal("InvalidInput");
    expect(await code(take("Never"))).to.equal("NotFound");
    await take("IfNotPresent", key("good", true));
    await take("IfNotPresent", key("good", true));
    restart();
    await take("Never", key("good", true));
    expect(checks).to.equal(2);
    expect(await code(take("IfNotPresent", key("bad", false)))).to.equal("InvalidInput");
    expect(await code(take("Never", key("bad", false)))).to.equal("NotFound");
    expect(checks).to.equal(3);
  });

  it("are fetched each time where there is no folder to keep them in, unless they are compiled", async () => {
    remote = new RemoteModules({ references: new References(undefined), disk: undefined, clock: systemPorts.clock });
    await take("IfNotPresent");
    await take("IfNotPresent");
    await take("IfNotPresent", { isAtHand: () => true });
    expect(registry.fetches).to.equal(2);
    expect((await take("Never", { isAtHand: () => true })).digest).to.equal(digestOf(one));
  });
});
