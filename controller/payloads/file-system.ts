import { createHash } from "node:crypto";
import { type FileHandle, link, mkdir, open, readdir, rename, stat, unlink, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Clock } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import type { Payload } from "../../engine/payload.ts";
import { hexOf, isDigest, isNamespaceUid } from "./digest.ts";
import { Flights } from "./flights.ts";
import { Lanes } from "./lanes.ts";
import type { PayloadRef, PayloadStore, StoredPayload } from "./store.ts";

export interface FileSystemStoreOptions {
  /** Where everything lies; made when it is not there. */
  readonly root: string;
  readonly clock: Clock;
  /** Tells this process's temporary files from those of all others, dead or alive; letters, digits and hyphens. */
  readonly writer: string;
}

/** A temporary file that nobody has written to for this long was left behind by a crash. In milliseconds. */
const leftoverAgeMs = 60 * 60 * 1000;

/** Of a file that somebody who deletes has set aside, to see whether it was touched. */
const asideSuffix = ".aside";

/** Of a SHA-256: the length of a payload's file name. */
const hexDigits = 64;

const chunkBytes = 64 * 1024;

/**
 * Payloads as files: `<root>/<namespace UID>/<first two hex digits>/<sha256>`. A write goes to a temporary file beside
 * its place, is synced, renamed, and the folder is synced: a reader sees all of it or nothing, whenever the machine stops.
 * Several processes may share the folder: what is to be deleted is renamed first and looked at then, when nobody can touch it
 * any more.
 */
export class FileSystemStore implements PayloadStore {
  readonly #root: string;
  readonly #clock: Clock;
  readonly #writer: string;
  /** Writes in flight by path: a second writer of the same bytes waits for the first. */
  readonly #writing = new Flights<void>();
  /** By path: what touches and what deletes never pass each other. */
  readonly #lanes = new Lanes();
  /** Paths of files that a read found corrupt, until they are written anew. */
  readonly #corrupt = new Set<string>();
  #sequence = 0;

  constructor(options: FileSystemStoreOptions) {
    this.#root = options.root;
    this.#clock = options.clock;
    this.#writer = options.writer;
  }

  async put(namespaceUid: string, payload: Payload, signal: AbortSignal): Promise<PayloadRef> {
    const { digest, size, contentType } = payload;
    const path = this.#path(namespaceUid, digest);
    const write = (ownSignal: AbortSignal) => this.#lanes.run(path, () => this.#store(path, payload, ownSignal));
    await this.#writing.board(path, write, signal);
    return { digest, bytes: size, contentType };
  }

  open(namespaceUid: string, ref: PayloadRef): Payload {
    const path = this.#path(namespaceUid, ref.digest);
    return new FilePayload(path, ref, () => this.#corrupt.add(path));
  }

  async stat(namespaceUid: string, digest: string, signal: AbortSignal): Promise<number | undefined> {
    signal.throwIfAborted();
    try {
      return (await stat(this.#path(namespaceUid, digest))).size;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw translate(error, "look for a payload");
    }
  }

  /** Also removes what a crash left behind. */
  async *list(namespaceUid: string, signal: AbortSignal): AsyncIterable<StoredPayload> {
    const folder = this.#folder(namespaceUid);
    for (const shard of await entries(folder)) {
      for (const name of await entries(join(folder, shard))) {
        signal.throwIfAborted();
        const stored = await this.#listed(join(folder, shard, name), name);
        if (stored !== undefined) yield stored;
      }
    }
  }

  async *namespaces(signal: AbortSignal): AsyncIterable<string> {
    for (const name of await entries(this.#root)) {
      signal.throwIfAborted();
      if (isNamespaceUid(name)) yield name;
    }
  }

  async delete(namespaceUid: string, digest: string, touchedBefore: number, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    const path = this.#path(namespaceUid, digest);
    try {
      return await this.#lanes.run(path, () => this.#remove(path, touchedBefore));
    } catch (error) {
      if (isMissing(error)) return false;
      throw translate(error, "delete a payload");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing.settled();
    await this.#lanes.settled();
  }

  #folder(namespaceUid: string): string {
    if (!isNamespaceUid(namespaceUid)) {
      throw new MillraceError("Internal", `"${namespaceUid}" is not the UID of a namespace`);
    }
    return join(this.#root, namespaceUid);
  }

  #path(namespaceUid: string, digest: string): string {
    if (!isDigest(digest)) {
      throw new MillraceError(
        "InvalidInput",
        `"${digest}" is not a digest; one is "sha256:" and 64 hexadecimal digits`,
      );
    }
    const hex = hexOf(digest);
    return join(this.#folder(namespaceUid), hex.slice(0, 2), hex);
  }

  async #store(path: string, payload: Payload, signal: AbortSignal): Promise<void> {
    try {
      if (await this.#touch(path, payload.size)) return;
      const temporary = `${path}.${this.#writer}-${++this.#sequence}.tmp`;
      await makeFolder(this.#root, dirname(path));
      try {
        await writeDurably(temporary, payload, this.#clock.now(), signal);
        await rename(temporary, path);
      } catch (error) {
        await unlink(temporary).catch(() => undefined);
        throw error;
      }
      this.#corrupt.delete(path);
      await syncFolder(dirname(path));
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw translate(error, `store a payload of ${payload.size} bytes`);
    }
  }

  async #remove(path: string, touchedBefore: number): Promise<boolean> {
    if ((await stat(path)).mtimeMs >= touchedBefore) return false;
    const aside = `${path}.${this.#writer}-${++this.#sequence}${asideSuffix}`;
    await rename(path, aside);
    if ((await stat(aside)).mtimeMs < touchedBefore) {
      await unlink(aside);
      this.#corrupt.delete(path);
      return true;
    }
    // Another process touched it between the two looks, and counts on it.
    await putBack(aside, path);
    return false;
  }

  /** True when the bytes are there at their full size, and no read found them to be others: a new write would change nothing but the time, so only that is done. */
  async #touch(path: string, size: number): Promise<boolean> {
    if (this.#corrupt.has(path)) return false;
    try {
      if ((await stat(path)).size !== size) return false;
      const now = this.#clock.now() / 1000;
      await utimes(path, now, now);
      // Still under its name: whoever sets it aside from now on sees the new time.
      await stat(path);
      return true;
    } catch (error) {
      // Another process may delete it between the calls.
      if (isMissing(error)) return false;
      throw error;
    }
  }

  async #listed(path: string, name: string): Promise<StoredPayload | undefined> {
    try {
      // Left by a crash, or just being looked at by another process: under its own name nothing is lost in either case.
      if (name.endsWith(asideSuffix)) await putBack(path, join(dirname(path), name.slice(0, hexDigits)));
      const { size, mtimeMs } = await stat(path);
      if (isDigest(`sha256:${name}`)) return { digest: `sha256:${name}`, bytes: size, touchedAt: mtimeMs };
      if (name.endsWith(".tmp") && this.#clock.now() - mtimeMs > leftoverAgeMs) await unlink(path);
      return undefined;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw translate(error, "list payloads");
    }
  }
}

/** A handle on a file; each read verifies size and digest. */
class FilePayload implements Payload {
  readonly contentType: string;
  readonly size: number;
  readonly digest: string;
  readonly #path: string;
  readonly #onCorrupt: () => void;

  constructor(path: string, ref: PayloadRef, onCorrupt: () => void) {
    this.#path = path;
    this.#onCorrupt = onCorrupt;
    this.contentType = ref.contentType;
    this.size = ref.bytes;
    this.digest = ref.digest;
  }

  async bytes(signal: AbortSignal): Promise<Uint8Array> {
    const bytes = new Uint8Array(this.size);
    let offset = 0;
    for await (const chunk of this.#chunks(signal)) {
      bytes.set(chunk, offset);
      offset += chunk.byteLength;
    }
    return bytes;
  }

  stream(signal: AbortSignal): ReadableStream<Uint8Array> {
    return ReadableStream.from(this.#chunks(signal));
  }

  /** The last chunk comes only after the digest of all of them is known to be right: a corrupt payload never looks complete. */
  async *#chunks(signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const file = await this.#open();
    try {
      const hash = createHash("sha256");
      let held: Uint8Array | undefined;
      let offset = 0;
      for (;;) {
        signal.throwIfAborted();
        const { bytesRead, buffer } = await file.read(new Uint8Array(chunkBytes), 0, chunkBytes, offset);
        if (bytesRead === 0) break;
        offset += bytesRead;
        if (offset > this.size) throw this.#lost(`has more than its ${this.size} bytes`);
        if (held !== undefined) yield held;
        held = buffer.subarray(0, bytesRead);
        hash.update(held);
      }
      if (offset !== this.size) throw this.#lost(`has ${offset} of its ${this.size} bytes`);
      if (`sha256:${hash.digest("hex")}` !== this.digest) {
        this.#onCorrupt();
        throw this.#lost("is corrupt: its bytes have another digest");
      }
      if (held !== undefined) yield held;
    } finally {
      await file.close();
    }
  }

  async #open(): Promise<FileHandle> {
    try {
      return await open(this.#path, "r");
    } catch (error) {
      if (isMissing(error)) throw this.#lost("is not there", error);
      throw translate(error, "read a payload");
    }
  }

  #lost(what: string, cause?: unknown): MillraceError {
    const message = `payload ${this.digest} ${what} in the payload store; create the Execution anew`;
    return new MillraceError("PayloadLost", message, { cause });
  }
}

async function writeDurably(path: string, payload: Payload, nowMs: number, signal: AbortSignal): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    const hash = createHash("sha256");
    for await (const chunk of payload.stream(signal)) {
      signal.throwIfAborted();
      hash.update(chunk);
      await file.writeFile(chunk);
    }
    if (`sha256:${hash.digest("hex")}` !== payload.digest) {
      throw new MillraceError("Internal", `a payload called ${payload.digest} has bytes of another digest`);
    }
    // The sweep counts from the injected clock, not from the file system's.
    await file.utimes(nowMs / 1000, nowMs / 1000);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes the folder, and makes every new name on the way to it durable. */
async function makeFolder(root: string, folder: string): Promise<void> {
  const made = await mkdir(folder, { recursive: true, mode: 0o700 });
  if (made === undefined) return;
  for (let path = folder; path.length >= Math.min(made.length, root.length); path = dirname(path)) {
    await syncFolder(dirname(path));
    if (path === made || path === dirname(path)) return;
  }
}

/** Never over a file that was written meanwhile: that one is younger. */
async function putBack(aside: string, path: string): Promise<void> {
  try {
    await link(aside, path);
    await unlink(aside);
  } catch (error) {
    if (errno(error) === "EEXIST") await unlink(aside);
    // A file system without hard links.
    else await rename(aside, path);
  }
  await syncFolder(dirname(path));
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function entries(folder: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    if (isMissing(error) || errno(error) === "ENOTDIR") return [];
    throw translate(error, "list payloads");
  }
}

function errno(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

const isMissing = (error: unknown): boolean => errno(error) === "ENOENT";

const fullCodes: readonly (string | undefined)[] = ["ENOSPC", "EDQUOT", "EMFILE", "ENFILE"];

/** Errno to the closed set. */
function translate(error: unknown, action: string): MillraceError {
  if (error instanceof MillraceError) return error;
  const text = error instanceof Error ? error.message : String(error);
  if (fullCodes.includes(errno(error))) {
    const mend = "make room in the payload store, or shorten ttlSecondsAfterFinished";
    return new MillraceError("ResourceExhausted", `cannot ${action}: ${text}; ${mend}`, { cause: error });
  }
  const mend = "the payload store's folder must be readable and writable by the controller";
  return new MillraceError("Unavailable", `cannot ${action}: ${text}; ${mend}`, { cause: error });
}
