import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, lstatSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { CacheFolder } from "../../../../backends/wasm/modules/cache-folder.ts";
import { DiskCache } from "../../../../backends/wasm/modules/disk-cache.ts";
import { type Clock, systemPorts } from "../../../../engine/clock.ts";
import { digestOf } from "../../../../engine/payload.ts";
import { leaveOut } from "../../../support/left-out.ts";

function content(index: number, bytes = 100): Uint8Array {
  return new Uint8Array(bytes).fill(index);
}

describe("The cache of modules on disk", function () {
  this.timeout(30_000);
  let root: string;
  let warnings: string[];
  let nowMs: number;
  const clock: Clock = { now: () => nowMs, monotonic: () => nowMs };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "millrace-cache-"));
    warnings = [];
    nowMs = Date.now();
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  function cacheOf(maxBytes = 250, settled?: Promise<void>): DiskCache {
    const folder = new CacheFolder({ dir: join(root, "cache"), clock, warn: (message) => warnings.push(message) });
    return new DiskCache({ folder, maxBytes, maxModuleBytes: 1000, ...(settled && { settled }) });
  }

  async function write(cache: DiskCache, bytes: Uint8Array): Promise<string> {
    const digest = digestOf(bytes);
    nowMs += 1000;
    await cache.write(digest, bytes);
    return digest;
  }

  async function read(cache: DiskCache, digest: string): Promise<Uint8Array | undefined> {
    nowMs += 1000;
    const bytes = await cache.read(digest);
    return bytes && new Uint8Array(bytes);
  }

  const stored = async () => (await readdir(join(root, "cache/sha256"))).length;
  const pathOf = (digest: string) => join(root, "cache/sha256", digest.slice("sha256:".length));

  it("keeps what it was given beyond a restart, under its digest", async () => {
    const digest = await write(cacheOf(), content(1));
    const restarted = cacheOf();
    expect(await read(restarted, digest)).to.deep.equal(content(1));
    expect(await read(restarted, digestOf(content(2)))).to.equal(undefined);
    expect(restarted.stats).to.include({ hits: 1, misses: 1 });
    expect(new Uint8Array(await readFile(pathOf(digest)))).to.deep.equal(content(1));
    expect(await readdir(join(root, "cache/tmp"))).to.deep.equal([]);
    expect(warnings).to.deep.equal([]);
  });

  it("drops what was used longest ago when it passes its budget, uses of earlier processes counted", async () => {
    const before = cacheOf();
    const [one, two] = [await write(before, content(1)), await write(before, content(2))];
    expect(await read(before, one)).to.not.equal(undefined);
    const after = cacheOf();
    const three = await write(after, content(3));
    expect(await read(after, two)).to.equal(undefined);
    for (const digest of [one, three]) expect(await read(after, digest)).to.not.equal(undefined);
    expect(after.stats).to.include({ evictions: 1, bytes: 200 });
  });

  it("never drops what is pinned, and does once it is not", async () => {
    const cache = cacheOf();
    const one = await write(cache, content(1));
    const pins = [cache.pin(one), cache.pin(one)];
    for (let index = 2; index < 6; index++) await write(cache, content(index));
    pins[0]?.[Symbol.dispose]();
    pins[0]?.[Symbol.dispose]();
    await write(cache, content(6));
    expect(existsSync(pathOf(one))).to.equal(true);
    pins[1]?.[Symbol.dispose]();
    await cache[Symbol.asyncDispose]();
    for (let index = 7; index < 9; index++) await write(cache, content(index));
    expect(existsSync(pathOf(one))).to.equal(false);
    expect(await stored()).to.equal(2);
  });

  it("drops nothing until all have been loaded that may need it, and then what none of them did", async () => {
    const before = cacheOf(1000);
    const digests = [];
    for (let index = 0; index < 6; index++) digests.push(await write(before, content(index)));
    const { promise: settled, resolve: settle } = Promise.withResolvers<void>();
    const cache = cacheOf(250, settled);
    const pin = cache.pin(digests[0] ?? "");
    await write(cache, content(6));
    expect(await stored()).to.equal(7);
    expect(cache.stats).to.include({ bytes: 700, evictions: 0 });
    settle();
    await settled;
    await cache[Symbol.asyncDispose]();
    expect(cache.stats).to.include({ bytes: 200, evictions: 5 });
    expect((await readdir(join(root, "cache/sha256"))).sort()).to.deep.equal(
      [digests[0] ?? "", digestOf(content(6))].map((digest) => digest.slice("sha256:".length)).sort(),
    );
    pin[Symbol.dispose]();
  });

  it("counts giving a pin back as a use", async () => {
    const cache = cacheOf();
    const one = await write(cache, content(1));
    const pin = cache.pin(one);
    const two = await write(cache, content(2));
    nowMs += 60_000;
    pin[Symbol.dispose]();
    await cache[Symbol.asyncDispose]();
    await write(cache, content(3));
    expect([existsSync(pathOf(one)), existsSync(pathOf(two))]).to.deep.equal([true, false]);
  });

  it("keeps to its budget when many are written at the same time", async () => {
    const cache = cacheOf();
    await Promise.all(Array.from({ length: 20 }, (_, index) => write(cache, content(index))));
    expect(await stored()).to.equal(2);
    expect(cache.stats).to.include({ bytes: 200, evictions: 18 });
  });

  it("does not keep what is larger than all of it", async () => {
    const cache = cacheOf();
    const one = await write(cache, content(1));
    await write(cache, content(2, 300));
    expect(await read(cache, one)).to.not.equal(undefined);
    expect(await stored()).to.equal(1);
  });

  for (const [damage, inflict] of [
    ["truncated", (path: string) => truncate(path, 40)],
    ["emptied", (path: string) => truncate(path, 0)],
    ["changed", (path: string) => writeFile(path, content(9))],
    ["grown beyond the largest module", (path: string) => truncate(path, 2 ** 40)],
  ] as const) {
    it(`does not give a file that was ${damage}, and mends it with the next write`, async () => {
      const cache = cacheOf();
      const digest = await write(cache, content(1));
      await inflict(pathOf(digest));
      expect(await read(cache, digest)).to.equal(undefined);
      expect(cache.stats).to.include({ hits: 0, misses: 1 });
      await write(cache, content(1));
      expect(await read(cache, digest)).to.deep.equal(content(1));
    });
  }

  for (const [what, put] of [
    ["a link to a device that never ends", (path: string) => symlink("/dev/zero", path)],
    ["a link to the very module", (path: string) => symlink(join(root, "module"), path)],
    ["a link that leads nowhere", (path: string) => symlink("nowhere", path)],
    ["a pipe that nobody writes to", (path: string) => Promise.resolve(execFileSync("mkfifo", [path]))],
    ["a folder without anything in it", (path: string) => mkdir(path)],
    ["a file of 20 GiB", (path: string) => writeFile(path, "").then(() => truncate(path, 20 * 2 ** 30))],
  ] as const) {
    it(`reads nothing of ${what}, takes it away, and keeps the module in its place`, async () => {
      const before = cacheOf();
      const digest = await write(before, content(1));
      await writeFile(join(root, "module"), content(1));
      await rm(pathOf(digest));
      await put(pathOf(digest));
      const residentBytes = process.memoryUsage().rss;
      const cache = cacheOf();
      const startMs = performance.now();
      expect(await read(cache, digest)).to.equal(undefined);
      expect(performance.now() - startMs).to.be.below(1000);
      expect(process.memoryUsage().rss - residentBytes).to.be.below(50 * 2 ** 20);
      expect(lstatSync(pathOf(digest), { throwIfNoEntry: false })).to.equal(undefined);
      await put(pathOf(digest));
      await write(cache, content(1));
      expect(await read(cache, digest)).to.deep.equal(content(1));
      expect(new Uint8Array(await readFile(join(root, "module")))).to.deep.equal(content(1));
      expect(warnings).to.deep.equal([]);
    });
  }

  it("leaves a folder with something in it where it is, names it, and goes on with the others", async () => {
    const cache = cacheOf();
    const [one, two] = [await write(cache, content(1)), digestOf(content(2))];
    await mkdir(join(pathOf(two), "of-somebody"), { recursive: true });
    expect(await read(cache, two)).to.equal(undefined);
    await write(cache, content(2));
    expect(warnings).to.have.length(1);
    expect(warnings[0]).to.include(pathOf(two)).and.not.include("cannot be used");
    expect(await readdir(pathOf(two))).to.deep.equal(["of-somebody"]);
    expect(await read(cache, one)).to.deep.equal(content(1));
  });

  it("counts neither links nor pipes nor folders, and drops no module for a file that can be none", async () => {
    const before = cacheOf();
    const digests = [await write(before, content(1)), await write(before, content(2))];
    await writeFile(join(root, "large"), content(3, 900));
    await symlink(join(root, "large"), join(root, "cache/sha256/link"));
    execFileSync("mkfifo", [join(root, "cache/sha256/pipe")]);
    await mkdir(join(root, "cache/sha256/folder"));
    await writeFile(join(root, "cache/sha256/huge"), "");
    await truncate(join(root, "cache/sha256/huge"), 20 * 2 ** 30);
    const cache = cacheOf();
    await cache[Symbol.asyncDispose]();
    expect(cache.stats).to.include({ bytes: 200, evictions: 0 });
    for (const digest of digests) expect(await cache.has(digest)).to.equal(true);
    expect(existsSync(join(root, "cache/sha256/huge"))).to.equal(false);
  });

  it("uses its folder though somebody put links, pipes and folders where it writes", async () => {
    const temporary = join(root, "cache/tmp");
    await mkdir(join(temporary, "folder/in-it"), { recursive: true });
    execFileSync("mkfifo", [join(temporary, "pipe")]);
    await symlink("/dev/zero", join(temporary, "link"));
    nowMs += 3_600_000;
    const cache = cacheOf();
    const digest = await write(cache, content(1));
    expect(await read(cache, digest)).to.deep.equal(content(1));
    expect(await readdir(temporary)).to.deep.equal(["folder"]);
  });

  it("removes what a process left that ended while it wrote, and nothing that may be being written", async () => {
    const temporary = join(root, "cache/tmp");
    await mkdir(temporary, { recursive: true });
    for (const name of ["left", "writing"]) await writeFile(join(temporary, name), content(1));
    await utimes(join(temporary, "left"), nowMs / 1000 - 3600, nowMs / 1000 - 3600);
    await write(cacheOf(), content(1));
    expect(await readdir(temporary)).to.deep.equal(["writing"]);
  });

  it("goes on without a folder that cannot be made, says so once, and uses it when it can be", async () => {
    await writeFile(join(root, "cache"), "a file");
    const cache = cacheOf();
    const digest = await write(cache, content(1));
    await write(cache, content(2));
    expect(await read(cache, digest)).to.equal(undefined);
    expect(warnings).to.have.length(1);
    expect(warnings[0]).to.include(join(root, "cache")).and.include("--module-cache-dir");
    await rm(join(root, "cache"));
    await write(cache, content(1));
    expect(await read(cache, digest)).to.deep.equal(content(1));
  });

  it("counts what is there from before, and makes room where its budget has become smaller", async () => {
    const kept = cacheOf();
    await write(kept, content(1));
    const digest = await write(kept, content(2));
    const restarted = cacheOf(150);
    await restarted[Symbol.asyncDispose]();
    expect(restarted.stats).to.include({ bytes: 100, evictions: 1 });
    expect(await restarted.has(digest)).to.equal(true);
    expect(await restarted.has(digestOf(content(1)))).to.equal(false);
  });

  it("makes its folder anew where somebody removed it", async () => {
    const cache = cacheOf();
    await write(cache, content(1));
    await rm(join(root, "cache"), { recursive: true });
    const digest = digestOf(content(2));
    await write(cache, content(2));
    await write(cache, content(2));
    expect(await read(cache, digest)).to.deep.equal(content(2));
  });

  it("goes on without a disk that is full, and says so once", async function () {
    const full = join(root, "full");
    await mkdir(full);
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", full], { stdio: "ignore" });
    } catch {
      leaveOut(this, "mount", "needs the right to mount a small disk; run it as root");
    }
    try {
      const folder = new CacheFolder({ dir: full, clock, warn: (message) => warnings.push(message) });
      const cache = new DiskCache({ folder, maxBytes: 2 ** 30, maxModuleBytes: 2 ** 20 });
      const small = await write(cache, content(1));
      const large = await write(cache, content(2, 100_000));
      await write(cache, content(3, 100_000));
      expect(await read(cache, large)).to.equal(undefined);
      expect(await read(cache, small)).to.deep.equal(content(1));
      expect(warnings).to.have.length(1);
      expect(warnings[0]).to.include("ENOSPC");
      expect(await readdir(join(full, "tmp"))).to.deep.equal([]);
    } finally {
      execFileSync("umount", [full]);
    }
  });

  it("is shared by processes that write, read and drop at the same time, and none of them reads anything else", async () => {
    const script = join(import.meta.dirname, "disk-cache-process.ts");
    const processes = [1, 2, 3].map((seed) =>
      spawn(process.execPath, [script, join(root, "cache"), String(seed)], { stdio: ["ignore", "pipe", "inherit"] }),
    );
    const outputs = await Promise.all(
      processes.map(async (child) => {
        let text = "";
        child.stdout.on("data", (chunk: Buffer) => {
          text += chunk.toString();
        });
        const [code] = await once(child, "exit");
        return { code: code as number, ...(JSON.parse(text) as { hits: number; wrong: number; warnings: number }) };
      }),
    );
    for (const output of outputs) expect(output).to.include({ code: 0, wrong: 0, warnings: 0 });
    expect(outputs.reduce((sum, { hits }) => sum + hits, 0)).to.be.greaterThan(100);
    const last = new DiskCache({
      folder: new CacheFolder({ dir: join(root, "cache"), clock: systemPorts.clock, warn: () => undefined }),
      maxBytes: 20_000,
      maxModuleBytes: 1000,
    });
    await last.write(digestOf(content(1)), content(1));
    expect(last.stats.bytes).to.be.at.most(20_000);
  });
});
