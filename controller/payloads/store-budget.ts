import { MillraceError } from "../../engine/errors.ts";

/** What a store may hold, payloads and records together, in bytes; absent: as much as fits on the disk. */
export interface StoreLimits {
  readonly totalBytes?: number;
  /** Of one namespace, so that none takes the others' room. */
  readonly namespaceBytes?: number;
}

/** Makes room where nobody needs what is stored; rejects when it cannot. */
export type MakeRoom = (signal: AbortSignal) => Promise<void>;

/** Counts what is stored, and refuses what would pass a limit. */
export class StoreBudget {
  readonly limits: StoreLimits;
  readonly #makeRoom: MakeRoom;
  readonly #used = new Map<string, number>();
  /** How often a namespace's count has changed. */
  readonly #changes = new Map<string, number>();
  #totalBytes = 0;

  constructor(limits: StoreLimits, makeRoom: MakeRoom) {
    this.limits = limits;
    this.#makeRoom = makeRoom;
  }

  get usedBytes(): number {
    return this.#totalBytes;
  }

  /** Sets bytes aside before they are written; false, and nothing is set aside, where a limit would be passed. Less is always right. */
  take(namespaceUid: string, bytes: number): boolean {
    if (bytes > 0 && this.#passed(namespaceUid, bytes) !== undefined) return false;
    this.#add(namespaceUid, bytes);
    return true;
  }

  /** Of what was deleted, or not written after all. */
  give(namespaceUid: string, bytes: number): void {
    this.#add(namespaceUid, -bytes);
  }

  /** Does what says by false that there is no room, and once more when room has been made. Throws MillraceError ResourceExhausted. */
  async within(
    namespaceUid: string,
    bytes: number,
    attempt: () => Promise<boolean>,
    signal: AbortSignal,
  ): Promise<void> {
    if (await attempt()) return;
    let cause: unknown;
    try {
      await this.#makeRoom(signal);
    } catch (error) {
      signal.throwIfAborted();
      cause = error;
    }
    if (!(await attempt())) throw this.#exhausted(namespaceUid, bytes, cause);
  }

  changesOf(namespaceUid: string): number {
    return this.#changes.get(namespaceUid) ?? 0;
  }

  /** What a walk found in a namespace; left alone if its count has changed since the walk began, as then the walk may have missed that. */
  counted(namespaceUid: string, bytes: number, changesBefore: number): void {
    if (this.changesOf(namespaceUid) !== changesBefore) return;
    this.#add(namespaceUid, bytes - (this.#used.get(namespaceUid) ?? 0));
  }

  #add(namespaceUid: string, bytes: number): void {
    if (bytes === 0) return;
    this.#changes.set(namespaceUid, this.changesOf(namespaceUid) + 1);
    this.#used.set(namespaceUid, (this.#used.get(namespaceUid) ?? 0) + bytes);
    this.#totalBytes += bytes;
  }

  /** Which limit would be passed. */
  #passed(namespaceUid: string, bytes: number): string | undefined {
    const { totalBytes = Infinity, namespaceBytes = Infinity } = this.limits;
    const used = this.#used.get(namespaceUid) ?? 0;
    if (this.#totalBytes + bytes > totalBytes) {
      return `the payload store has ${this.#totalBytes} bytes of at most ${totalBytes} (--payload-store-size)`;
    }
    if (used + bytes <= namespaceBytes) return undefined;
    return `this namespace has ${used} bytes of at most ${namespaceBytes} in the payload store (--payload-store-namespace-size)`;
  }

  #exhausted(namespaceUid: string, bytes: number, cause: unknown): MillraceError {
    const why = this.#passed(namespaceUid, bytes) ?? "the payload store is full";
    const mend = "delete Executions that are not needed any more, shorten ttlSecondsAfterFinished, or raise the limit";
    return new MillraceError("ResourceExhausted", `no room for ${bytes} bytes: ${why}; ${mend}`, { cause });
  }
}
