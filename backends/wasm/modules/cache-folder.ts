import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../../engine/clock.ts";

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

/**
 * A folder that processes may share without locks: each file is written beside its place and renamed into it, so that a reader sees
 * a whole one or none. A folder that does not work makes whoever uses it slower, and fails nobody: what cannot be read is not there.
 */
export class CacheFolder {
  readonly #options: CacheFolderOptions;
  #opened: Promise<void> | undefined;
  #hasWarned = false;

  constructor(options: CacheFolderOptions) {
    this.#options = options;
  }

  /** The file's bytes; undefined when it is not there, cannot be read, or is larger than `maxBytes`. */
  async read(room: CacheRoom, name: string, maxBytes: number): Promise<Uint8Array | undefined> {
    return await this.#attempt(async () => {
      await using handle = await open(this.#path(room, name), "r");
      const { size } = await handle.stat();
      return size > maxBytes ? undefined : await handle.readFile();
    });
  }

  /** Whether it was written. */
  async write(room: CacheRoom, name: string, bytes: Uint8Array): Promise<boolean> {
    const temporary = join(this.#options.dir, "tmp", randomUUID());
    const written = await this.#attempt(async () => {
      await using handle = await open(temporary, "wx", 0o600);
      await handle.writeFile(bytes);
      await handle.sync();
      await rename(temporary, this.#path(room, name));
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
    await this.#attempt(() => utimes(this.#path(room, name), now, now));
  }

  async remove(room: CacheRoom, name: string): Promise<void> {
    await this.#attempt(() => rm(this.#path(room, name), { force: true }));
  }

  /** All files of a room, whoever wrote them, the least recently used first. */
  async list(room: CacheRoom): Promise<CachedFile[]> {
    const names = await this.#attempt(() => readdir(join(this.#options.dir, room)));
    const files = await Promise.all((names ?? []).map((name) => this.#file(room, name)));
    return files.filter((file) => file !== undefined).sort((one, other) => one.usedMs - other.usedMs);
  }

  async #file(room: CacheRoom, name: string): Promise<CachedFile | undefined> {
    // Another process may have removed it meanwhile.
    const found = await stat(this.#path(room, name)).catch(() => undefined);
    return found?.isFile() === true ? { name, bytes: found.size, usedMs: found.mtimeMs } : undefined;
  }

  #path(room: CacheRoom, name: string): string {
    return join(this.#options.dir, room, name);
  }

  async #attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      this.#opened ??= this.#open().catch((error: unknown) => {
        this.#opened = undefined;
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
    for (const room of ["sha256", "references", "tmp"]) await mkdir(join(dir, room), { recursive: true, mode: 0o700 });
    const temporary = join(dir, "tmp");
    for (const name of await readdir(temporary)) {
      const path = join(temporary, name);
      const found = await stat(path).catch(() => undefined);
      if (found !== undefined && clock.now() - found.mtimeMs > maxWritingMs) await rm(path, { force: true });
    }
  }

  #warn(error: unknown): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    this.#options.warn(
      `The folder of the module cache, ${this.#options.dir}, cannot be used (${codeOf(error)}): modules are fetched again where they would be found there. Give it room and the right to write, or name another (--module-cache-dir).`,
    );
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
