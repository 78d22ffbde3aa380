import { digestOf, digestPrefix } from "../sources/digest.ts";
import type { CachedFile, CacheFolder } from "./cache-folder.ts";

/** What a {@link DiskCache} is given. */
export interface DiskCacheOptions {
  readonly folder: CacheFolder;
  /** Of all modules in the folder. Those that are pinned are kept beyond it. */
  readonly maxBytes: number;
  /** The largest module. */
  readonly maxModuleBytes: number;
  /** Nothing is evicted before: what is in the folder may be of processors that are still to be loaded. Absent: nothing is waited for. */
  readonly settled?: Promise<void>;
}

/** How well a {@link DiskCache} serves, since it was made. */
export interface DiskCacheStats {
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
  /** In the folder, when it was last looked at. */
  readonly bytes: number;
}

const room = "sha256";

/**
 * Modules on disk, by content: least recently used out first when their bytes pass the budget, whichever process brought them; a use
 * counts across restarts. What is read is what was written, or it is not there: a damaged file is removed.
 */
export class DiskCache implements AsyncDisposable {
  readonly #options: DiskCacheOptions;
  /** How many hold a digest: processors that are loaded, and whoever writes it. */
  readonly #pins = new Map<string, number>();
  readonly #touches = new Set<Promise<void>>();
  #writes: Promise<void> = Promise.resolve();
  #hits = 0;
  #misses = 0;
  #evictions = 0;
  #bytes = 0;
  #mayEvict: boolean;

  constructor(options: DiskCacheOptions) {
    this.#options = options;
    this.#mayEvict = options.settled === undefined;
    // What is there from before counts, and makes room if the budget has become smaller.
    this.#writes = this.#makeRoom("", 0);
    void options.settled?.then(() => this.#settle());
  }

  get stats(): DiskCacheStats {
    return { hits: this.#hits, misses: this.#misses, evictions: this.#evictions, bytes: this.#bytes };
  }

  /** The module's bytes, which have that digest. Never rejects. */
  async read(digest: string): Promise<Uint8Array | undefined> {
    const { folder, maxModuleBytes } = this.#options;
    const name = nameOf(digest);
    const bytes = await folder.read(room, name, maxModuleBytes);
    if (bytes !== undefined && (await digestOf(bytes)) === digest) {
      this.#hits += 1;
      await folder.touch(room, name);
      return bytes;
    }
    this.#misses += 1;
    if (bytes !== undefined) await folder.remove(room, name);
    return undefined;
  }

  /** Whether the folder has a file of that digest; what is in it, reading tells. Never rejects. */
  async has(digest: string): Promise<boolean> {
    // What is being evicted now is seen to be gone.
    await this.#writes;
    return (await this.#modules()).some(({ name }) => name === nameOf(digest));
  }

  /** Keeps the module, if the folder takes it. Never rejects. */
  write(digest: string, bytes: Uint8Array): Promise<void> {
    // One after the other, so that together they do not pass the budget.
    this.#writes = this.#writes.then(async () => {
      using _written = this.pin(digest);
      if (bytes.byteLength > this.#options.maxBytes) return;
      await this.#makeRoom(digest, bytes.byteLength);
      if (await this.#options.folder.write(room, nameOf(digest), bytes)) this.#bytes += bytes.byteLength;
    });
    return this.#writes;
  }

  /** Keeps the module from being evicted by this process until it is given back; that is a use of it. */
  pin(digest: string): Disposable {
    this.#pins.set(digest, (this.#pins.get(digest) ?? 0) + 1);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (isHeld) this.#unpin(digest);
        isHeld = false;
      },
    };
  }

  /** Waits for what is being written. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writes;
    await Promise.all(this.#touches);
  }

  #settle(): void {
    this.#mayEvict = true;
    this.#writes = this.#writes.then(() => this.#makeRoom("", 0));
  }

  #unpin(digest: string): void {
    const pins = (this.#pins.get(digest) ?? 0) - 1;
    if (pins > 0) {
      this.#pins.set(digest, pins);
      return;
    }
    this.#pins.delete(digest);
    const touch = this.#options.folder.touch(room, nameOf(digest)).finally(() => this.#touches.delete(touch));
    this.#touches.add(touch);
  }

  /** What is larger than any module is none: for its sake none is evicted. */
  async #modules(): Promise<readonly CachedFile[]> {
    const { folder, maxModuleBytes } = this.#options;
    const files = await folder.list(room);
    for (const { name, bytes } of files) if (bytes > maxModuleBytes) await folder.remove(room, name);
    return files.filter(({ bytes }) => bytes <= maxModuleBytes);
  }

  /** Looks at the folder anew each time: another process may share it. */
  async #makeRoom(digest: string, bytes: number): Promise<void> {
    const { folder, maxBytes } = this.#options;
    const others = (await this.#modules()).filter(({ name }) => name !== nameOf(digest));
    let total = others.reduce((sum, file) => sum + file.bytes, 0);
    for (const file of others) {
      if (!this.#mayEvict || total + bytes <= maxBytes) break;
      if (this.#pins.has(digestPrefix + file.name)) continue;
      await folder.remove(room, file.name);
      total -= file.bytes;
      this.#evictions += 1;
    }
    this.#bytes = total;
  }
}

function nameOf(digest: string): string {
  return digest.slice(digestPrefix.length);
}
