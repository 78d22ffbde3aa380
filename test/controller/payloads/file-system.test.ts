import { spawnSync } from "node:child_process";
import files, {
  chmod,
  mkdir,
  readdir,
  readFile,
  rename,
  stat,
  truncate,
  unlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { dirname, join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import { FileSystemStore } from "../../../controller/payloads/file-system.ts";
import { type Clock, systemPorts } from "../../../engine/clock.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { BytesPayload, digestOf, textPayload } from "../../../engine/payload.ts";
import { leaveOut } from "../../support/left-out.ts";
import { namespaceUid, never, temporaryStore } from "./store-folder.ts";

const text = textPayload("to be kept");

function pathOf(root: string, digest: string): string {
  const hex = digest.slice("sha256:".length);
  return join(root, namespaceUid, hex.slice(0, 2), hex);
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "none";
  } catch (error) {
    if (error instanceof MillraceError) return error.code;
    throw error;
  }
}

async function filesUnder(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
}

describe("the payload store on files", () => {
  it("gives back what was put, under the digest's path, and nothing else lies there", async () => {
    await using folder = await temporaryStore();
    const ref = await folder.store.put(namespaceUid, text, never);
    expect(ref).to.deep.equal({ digest: text.digest, bytes: text.size, contentType: text.contentType });
    expect(await readFile(pathOf(folder.root, text.digest), "utf8")).to.equal("to be kept");
    expect(await filesUnder(folder.root)).to.deep.equal([text.digest.slice("sha256:".length)]);
    const opened = folder.store.open(namespaceUid, ref);
    expect(Buffer.from(await opened.bytes(never)).toString()).to.equal("to be kept");
    expect(opened.contentType).to.equal(text.contentType);
  });

  it("gives back any bytes, by all at once and by stream", async () => {
    await using folder = await temporaryStore();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200_000, size: "max" }), async (data) => {
        const ref = await folder.store.put(namespaceUid, new BytesPayload(data, "a/b"), never);
        const handle = folder.store.open(namespaceUid, ref);
        expect(digestOf(await handle.bytes(never))).to.equal(ref.digest);
        const chunks = await Array.fromAsync(handle.stream(never) as AsyncIterable<Uint8Array>);
        expect(digestOf(Buffer.concat(chunks))).to.equal(ref.digest);
      }),
      { numRuns: 25 },
    );
  });

  it("keeps namespaces apart", async () => {
    await using folder = await temporaryStore();
    const ref = await folder.store.put(namespaceUid, text, never);
    const other = "99999999-2222-3333-4444-555555555555";
    expect(await folder.store.stat(other, ref.digest, never)).to.equal(undefined);
    expect(await codeOf(folder.store.open(other, ref).bytes(never))).to.equal("PayloadLost");
  });

  it("refuses what would climb out of its folder", async () => {
    await using folder = await temporaryStore();
    expect(await codeOf(folder.store.stat("../..", text.digest, never))).to.equal("Internal");
    expect(await codeOf(folder.store.stat(namespaceUid, "sha256:../../../etc/passwd", never))).to.equal("InvalidInput");
  });

  it("says PayloadLost for a missing, corrupt, truncated or grown file", async () => {
    await using folder = await temporaryStore();
    const ref = await folder.store.put(namespaceUid, text, never);
    const path = pathOf(folder.root, ref.digest);
    const handle = folder.store.open(namespaceUid, ref);
    await chmod(path, 0o600);
    await writeFile(path, "to be KEPT");
    expect(await codeOf(handle.bytes(never))).to.equal("PayloadLost");
    await truncate(path, 4);
    expect(await codeOf(handle.bytes(never))).to.equal("PayloadLost");
    await writeFile(path, "to be kept and more");
    expect(await codeOf(handle.bytes(never))).to.equal("PayloadLost");
    await folder.store.delete(namespaceUid, ref.digest, Infinity, never);
    expect(await codeOf(handle.bytes(never))).to.equal("PayloadLost");
  });

  it("never ends a stream of corrupt bytes as if they were all right", async () => {
    await using folder = await temporaryStore();
    const large = new BytesPayload(new Uint8Array(300_000).fill(7), "a/b");
    const ref = await folder.store.put(namespaceUid, large, never);
    await writeFile(pathOf(folder.root, ref.digest), new Uint8Array(300_000).fill(8));
    let received = 0;
    const read = async () => {
      for await (const chunk of folder.store.open(namespaceUid, ref).stream(never)) received += chunk.byteLength;
    };
    expect(await codeOf(read())).to.equal("PayloadLost");
    expect(received).to.be.lessThan(300_000);
  });

  it("mends a truncated file by putting the payload again", async () => {
    await using folder = await temporaryStore();
    const ref = await folder.store.put(namespaceUid, text, never);
    await truncate(pathOf(folder.root, ref.digest), 3);
    await folder.store.put(namespaceUid, text, never);
    expect(Buffer.from(await folder.store.open(namespaceUid, ref).bytes(never)).toString()).to.equal("to be kept");
  });

  it("mends a file of the right size and other bytes by putting the payload again", async () => {
    await using folder = await temporaryStore();
    const ref = await folder.store.put(namespaceUid, text, never);
    await writeFile(pathOf(folder.root, ref.digest), "to be KEPT");
    await folder.store.put(namespaceUid, text, never);
    expect(Buffer.from(await folder.store.open(namespaceUid, ref).bytes(never)).toString()).to.equal("to be kept");
  });

  it("says whether a payload is there and intact, and touches one that is", async () => {
    const clock: Clock = { now: () => 5_000_000, monotonic: () => 0 };
    await using folder = await temporaryStore(clock);
    const ref = await folder.store.put(namespaceUid, text, never);
    const path = pathOf(folder.root, ref.digest);
    await utimes(path, 1, 1);
    expect(await folder.store.verify(namespaceUid, ref, never)).to.equal(true);
    expect((await stat(path)).mtimeMs).to.equal(5_000_000);
    expect(await folder.store.verify(namespaceUid, { ...ref, bytes: 1 }, never)).to.equal(false);
    await writeFile(path, "to be KEPT");
    expect(await folder.store.verify(namespaceUid, ref, never)).to.equal(false);
    await unlink(path);
    expect(await folder.store.verify(namespaceUid, ref, never)).to.equal(false);
  });

  it("stores equal bytes once however many write them at the same time, in one process and in two", async () => {
    await using folder = await temporaryStore();
    const other = new FileSystemStore({ root: folder.root, clock: systemPorts.clock, writer: "other" });
    const large = () => new BytesPayload(new Uint8Array(500_000).fill(3), "a/b");
    const stores = [folder.store, other, folder.store, other, folder.store, other];
    const refs = await Promise.all(stores.map((store) => store.put(namespaceUid, large(), never)));
    expect(new Set(refs.map(({ digest }) => digest)).size).to.equal(1);
    expect(await filesUnder(folder.root)).to.have.length(1);
  });

  it("stores a payload for one writer although the other, who came first, was cancelled meanwhile", async () => {
    await using folder = await temporaryStore();
    const [first, second] = [slowPayload(), new BytesPayload(new Uint8Array(10), "a/b")];
    const cancelled = new AbortController();
    const mine = folder.store.put(namespaceUid, first.payload, cancelled.signal).catch((error: unknown) => error);
    await first.asked;
    const theirs = folder.store.put(namespaceUid, second, never);
    cancelled.abort(new Error("cancelled"));
    expect(await mine).to.have.property("message", "cancelled");
    first.give();
    expect((await theirs).digest).to.equal(second.digest);
    expect(await folder.store.stat(namespaceUid, second.digest, never)).to.equal(10);
  });

  it("gives up a write that nobody waits for any more, and leaves nothing behind", async () => {
    await using folder = await temporaryStore();
    const slow = slowPayload();
    const cancelled = new AbortController();
    const mine = folder.store.put(namespaceUid, slow.payload, cancelled.signal).catch((error: unknown) => error);
    await slow.asked;
    cancelled.abort(new Error("cancelled"));
    expect(await mine).to.have.property("message", "cancelled");
    slow.give();
    await folder.store[Symbol.asyncDispose]();
    expect(await filesUnder(folder.root)).to.deep.equal([]);
  });

  it("touches what is put again, so that the sweep takes it for young", async () => {
    const clock: Clock = { now: () => 5_000_000, monotonic: () => 0 };
    await using folder = await temporaryStore(clock);
    await folder.store.put(namespaceUid, text, never);
    const path = pathOf(folder.root, text.digest);
    await utimes(path, 1, 1);
    await folder.store.put(namespaceUid, text, never);
    expect((await stat(path)).mtimeMs).to.equal(5_000_000);
    const [stored] = await Array.fromAsync(folder.store.list(namespaceUid, never));
    expect(stored).to.deep.equal({ digest: text.digest, bytes: text.size, touchedAt: 5_000_000 });
  });

  for (const [where, writer] of [
    ["the same process", "test"],
    ["another process", "other"],
  ] as const) {
    it(`loses nothing that ${where} puts again while it is being deleted`, async () => {
      await using folder = await temporaryStore();
      const common = { root: folder.root, clock: systemPorts.clock };
      const store = writer === "test" ? folder.store : new FileSystemStore({ ...common, writer });
      await folder.store.put(namespaceUid, text, never);
      const path = pathOf(folder.root, text.digest);
      await utimes(path, 1, 1);
      let putting: Promise<unknown> | undefined;
      using _ = interposed(["rename", "unlink"], async (from, proceed) => {
        if (from !== path || putting !== undefined) return await proceed();
        putting = store.put(namespaceUid, text, never);
        // As long as a put takes that need not wait for the deletion.
        for (let turn = 0; turn < 50; turn++) await stat(folder.root);
        await proceed();
      });
      await folder.store.delete(namespaceUid, text.digest, 5_000, never);
      await putting;
      expect(await readFile(path, "utf8")).to.equal("to be kept");
      expect(await filesUnder(folder.root)).to.have.length(1);
    });
  }

  it("writes anew what another process deleted while it was touched", async () => {
    await using folder = await temporaryStore();
    await folder.store.put(namespaceUid, text, never);
    const path = pathOf(folder.root, text.digest);
    // What was judged before it was touched goes after it was.
    using _ = interposed(["utimes"], async (_path, proceed) => {
      await proceed();
      await unlink(path);
    });
    await folder.store.put(namespaceUid, text, never);
    expect(await readFile(path, "utf8")).to.equal("to be kept");
  });

  it("does not delete what was touched since, and says so", async () => {
    const clock: Clock = { now: () => 5_000_000, monotonic: () => 0 };
    await using folder = await temporaryStore(clock);
    await folder.store.put(namespaceUid, text, never);
    expect(await folder.store.delete(namespaceUid, text.digest, 5_000_000, never)).to.equal(false);
    expect(await folder.store.delete(namespaceUid, text.digest, 5_000_001, never)).to.equal(true);
    expect(await folder.store.delete(namespaceUid, text.digest, 5_000_001, never)).to.equal(false);
    expect(await filesUnder(folder.root)).to.deep.equal([]);
  });

  it("puts back what a crash left set aside, but not over what was written since", async () => {
    await using folder = await temporaryStore();
    const path = pathOf(folder.root, text.digest);
    await folder.store.put(namespaceUid, text, never);
    await rename(path, `${path}.dead-1.aside`);
    await Array.fromAsync(folder.store.list(namespaceUid, never));
    expect(await readFile(path, "utf8")).to.equal("to be kept");
    await writeFile(`${path}.dead-2.aside`, "older");
    await Array.fromAsync(folder.store.list(namespaceUid, never));
    expect(await readFile(path, "utf8")).to.equal("to be kept");
    expect(await filesUnder(folder.root)).to.have.length(1);
  });

  it("leaves nothing behind when the source fails, and tells its error", async () => {
    await using folder = await temporaryStore();
    const broken = new BytesPayload(new Uint8Array(10), "a/b");
    broken.stream = () => ReadableStream.from(failing());
    expect(await codeOf(folder.store.put(namespaceUid, broken, never))).to.equal("Unavailable");
    expect(await filesUnder(folder.root)).to.deep.equal([]);
    await folder.store.put(namespaceUid, new BytesPayload(new Uint8Array(10), "a/b"), never);
  });

  it("does not store bytes under a digest that is not theirs", async () => {
    await using folder = await temporaryStore();
    const liar = new BytesPayload(new Uint8Array(10), "a/b");
    Object.defineProperty(liar, "digest", { value: text.digest });
    expect(await codeOf(folder.store.put(namespaceUid, liar, never))).to.equal("Internal");
    expect(await folder.store.stat(namespaceUid, text.digest, never)).to.equal(undefined);
  });

  it("removes what a crash left behind, once it is old, and does not list it", async () => {
    await using folder = await temporaryStore();
    const path = pathOf(folder.root, text.digest);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.dead-1.tmp`, "half");
    await writeFile(`${path}.alive-1.tmp`, "half");
    await utimes(`${path}.dead-1.tmp`, 1, 1);
    expect(await Array.fromAsync(folder.store.list(namespaceUid, never))).to.deep.equal([]);
    expect(await filesUnder(folder.root)).to.deep.equal([`${text.digest.slice("sha256:".length)}.alive-1.tmp`]);
  });

  it("says ResourceExhausted when the disk is full", async function () {
    const mounted = mountTiny();
    if (mounted === undefined) return leaveOut(this, "mount", "needs the right to mount a small disk; run it as root");
    try {
      const store = new FileSystemStore({ root: mounted.path, clock: systemPorts.clock, writer: "test" });
      const large = new BytesPayload(new Uint8Array(4 * 1024 * 1024), "a/b");
      expect(await codeOf(store.put(namespaceUid, large, never))).to.equal("ResourceExhausted");
      expect(await filesUnder(mounted.path)).to.deep.equal([]);
    } finally {
      mounted.unmount();
    }
  });

  it("says Unavailable, with the mend, where its folder cannot be written to", async () => {
    await using folder = await temporaryStore();
    // A file in the folder's place: what a read-only folder is to root, too.
    await writeFile(folder.root, "not a folder");
    let message = "";
    try {
      await folder.store.put(namespaceUid, text, never);
    } catch (error) {
      message = (error as MillraceError).message;
    }
    expect(message).to.contain("must be readable and writable");
  });
});

type Interposed = (path: unknown, proceed: () => Promise<void>) => Promise<void>;

/** Stands between everybody and these operations on files until disposed of: as if another process ran just then. */
function interposed(names: readonly ("rename" | "unlink" | "utimes")[], between: Interposed): Disposable {
  const kept = names.map((name) => [name, files[name]] as const);
  for (const [name, original] of kept) {
    const replacement = (...args: unknown[]) =>
      between(args[0], () => (original as (...args: unknown[]) => Promise<void>)(...args));
    Object.assign(files, { [name]: replacement });
  }
  syncBuiltinESMExports();
  return {
    [Symbol.dispose]() {
      Object.assign(files, Object.fromEntries(kept));
      syncBuiltinESMExports();
    },
  };
}

/** Ten zeros, half of which come only when they are given. */
function slowPayload(): { readonly payload: BytesPayload; readonly asked: Promise<void>; give(): void } {
  const [asked, given] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const payload = new BytesPayload(new Uint8Array(10), "a/b");
  payload.stream = () =>
    ReadableStream.from(
      (async function* () {
        yield new Uint8Array(5);
        asked.resolve();
        await given.promise;
        yield new Uint8Array(5);
      })(),
    );
  return { payload, asked: asked.promise, give: given.resolve };
}

async function* failing(): AsyncGenerator<Uint8Array> {
  yield new Uint8Array(5);
  throw new MillraceError("Unavailable", "the source broke off");
}

/** A file system of 1 MiB, where this user may mount one. */
function mountTiny(): { readonly path: string; unmount(): void } | undefined {
  const path = spawnSync("mktemp", ["-d"], { encoding: "utf8" }).stdout.trim();
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", path]);
  if (mounted.status === 0) {
    return {
      path,
      unmount() {
        spawnSync("umount", [path]);
        spawnSync("rmdir", [path]);
      },
    };
  }
  spawnSync("rmdir", [path]);
  return undefined;
}
