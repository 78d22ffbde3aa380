import { randomUUID } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { lstat, lutimes, open, readdir, rename, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../../engine/clock.ts";
import { fillFrom } from "../../file-bytes.ts";
import { makeFolders } from "../../make-folders.ts";

/** The rooms of a cache's folder. */
export type CacheRoom = "sha256" | "references";

/** A file of a room. */
export interface CachedFile {
  readonly name: string;
  readonly bytes: number;
  /** When it was last used, on the wall clock. */
  readonly usedMs: number;
}

/** What a {@link CacheFolder} is given. */
export interface CacheFolderOptions {
  /** Absolute; made if it is not there. It is Millrace's own: whoever can write to it chooses what `IfNotPresent` finds. */
  readonly dir: string;
  readonly clock: Clock;
  /** Told when the folder fails, once until it works again. */
  readonly warn: (message: string) => void;
}

/** A file that is being written is no older than this; what is, was left by a process that ended meanwhile. */
const maxWritingMs = 600_000;

/** Follows no link, and waits for no writer of a pipe: either could keep a thread of the platform's pool for good. */
const readingFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * A folder that processes may share without locks: each file is written beside its place and renamed into it, so that a reader sees
 * a whole one or none. A folder that does not work makes whoever uses it slower, and fails nobody: what cannot be read is not there.
 * What is no regular file is never read, and taken away where a file belongs.
 */
export class CacheFolder {
  readonly #options: CacheFolderOptions;
  #opened: Promise<void> | undefined;
  #hasWarned = false;

  constructor(options: CacheFolderOptions) {
    this.#options = options;
  }

  /** The file's bytes; undefined when it is not there or cannot be read. What is no file, or larger than `maxBytes`, is taken away. */
  async read(room: CacheRoom, name: string, maxBytes: number): Promise<Uint8Array | undefined> {
    return await this.#attempt(async () => {
      const path = this.#path(room, name);
      const found = await lstat(path);
      if (isReadable(found, maxBytes)) return await readRegular(path, maxBytes);
      await takeAway(path, found);
      return undefined;
    });
  }

  /** Whether it was written. */
  async write(room: CacheRoom, name: string, bytes: Uint8Array): Promise<boolean> {
    const temporary = join(this.#options.dir, "tmp", randomUUID());
    const written = await this.#attempt(async () => {
      await using handle = await open(temporary, "wx", 0o600);
      await handle.writeFile(bytes);
      await handle.sync();
      await moveTo(this.#path(room, name), temporary);
      return true;
    });
    this.#hasWarned &&= written !== true;
    if (written === true) return true;
    // Somebody may have removed the folder: it is made anew for the next.
    this.#opened = undefined;
    await rm(temporary, { force: true }).catch(() => undefined);
    return false;
  }

  /** Says that it was used now. */
  async touch(room: CacheRoom, name: string): Promise<void> {
    const now = new Date(this.#options.clock.now());
    await this.#attempt(() => lutimes(this.#path(room, name), now, now));
  }

  async remove(room: CacheRoom, name: string): Promise<void> {
    await this.#attempt(() => rm(this.#path(room, name), { force: true }));
  }

  /** All regular files of a room, whoever wrote them, the least recently used first. */
  async list(room: CacheRoom): Promise<CachedFile[]> {
    const names = await this.#attempt(() => readdir(join(this.#options.dir, room)));
    const files = await Promise.all((names ?? []).map((name) => this.#file(room, name)));
    return files.filter((file) => file !== undefined).sort((one, other) => one.usedMs - other.usedMs);
  }

  async #file(room: CacheRoom, name: string): Promise<CachedFile | undefined> {
    // Another process may have removed it meanwhile.
    const found = await lstat(this.#path(room, name)).catch(() => undefined);
    return found?.isFile() === true ? { name, bytes: found.size, usedMs: found.mtimeMs } : undefined;
  }

  #path(room: CacheRoom, name: string): string {
    return join(this.#options.dir, room, name);
  }

  async #attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      this.#opened ??= this.#open().catch((error: unknown) => {
        this.#opened = undefined;
        this.#warn(error);
        throw error;
      });
      await this.#opened;
      return await work();
    } catch (error) {
      if (codeOf(error) !== "ENOENT") this.#warn(error);
      return undefined;
    }
  }

  async #open(): Promise<void> {
    const { dir, clock } = this.#options;
    for (const room of ["sha256", "references", "tmp"]) await makeFolders(join(dir, room), 0o700);
    const temporary = join(dir, "tmp");
    for (const name of await readdir(temporary)) {
      const path = join(temporary, name);
      const found = await lstat(path).catch(() => undefined);
      if (found === undefined || clock.now() - found.mtimeMs <= maxWritingMs) continue;
      // A folder with something in it is in nobody's way here.
      await takeAway(path, found).catch(() => undefined);
    }
  }

  #warn(error: unknown): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    const { dir, warn } = this.#options;
    warn(
      error instanceof FolderInTheWay
        ? error.message
        : `The folder of the module cache, ${dir}, cannot be used (${codeOf(error)}): modules are fetched again where they would be found there. Give it room and the right to write, or name another (--module-cache-dir).`,
    );
  }
}

/** Where a file belongs is a folder that is not empty. It may be somebody's: it is left where it is. */
class FolderInTheWay extends Error {
  constructor(path: string, cause: unknown) {
    super(
      `In the module cache, ${path} is a folder with something in it: what belongs there is not kept, and fetched again. Move the folder away.`,
      { cause },
    );
  }
}

function isReadable(found: Stats, maxBytes: number): boolean {
  return found.isFile() && found.size <= maxBytes;
}

/** Undefined: somebody put something else there just now. */
async function readRegular(path: string, maxBytes: number): Promise<Uint8Array | undefined> {
  await using handle = await open(path, readingFlags);
  const found = await handle.stat();
  if (!isReadable(found, maxBytes)) return undefined;
  const bytes = new Uint8Array(found.size);
  return bytes.subarray(0, await fillFrom(handle, bytes));
}

/** Links and pipes give way to a renamed file, a folder does not. */
async function moveTo(path: string, from: string): Promise<void> {
  await rename(from, path).catch(async (error: unknown) => {
    if (codeOf(error) !== "EISDIR") throw error;
    await takeAwayFolder(path);
    await rename(from, path);
  });
}

async function takeAway(path: string, found: Stats): Promise<void> {
  await (found.isDirectory() ? takeAwayFolder(path) : rm(path, { force: true }));
}

async function takeAwayFolder(path: string): Promise<void> {
  await rmdir(path).catch((error: unknown) => {
    throw new FolderInTheWay(path, error);
  });
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
