import { createHash, type Hash } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";

/** What a digest of modules begins with. */
export const digestPrefix = "sha256:";

/** What is hashed in one turn of the event loop: some milliseconds at most. */
const sliceBytes = 512 * 1024;

/** The digest of what comes in pieces. */
export class Digest {
  readonly #algorithm: string;
  readonly #hash: Hash;

  /** @param like a digest of the algorithm that is meant; default `sha256` */
  constructor(like: string = digestPrefix) {
    this.#algorithm = like.slice(0, like.indexOf(":"));
    this.#hash = createHash(this.#algorithm);
  }

  add(piece: Uint8Array): void {
    this.#hash.update(piece);
  }

  /** `sha256:…` of all pieces. Once. */
  end(): string {
    return `${this.#algorithm}:${this.#hash.digest("hex")}`;
  }
}

/**
 * `sha256:…` of a module that is there as a whole, with turns for others in between: one of 64 MiB takes 40 to 300 milliseconds. Another
 * thread would not help, as what it hashes is copied first, which takes this one as long.
 */
export async function digestOf(bytes: Uint8Array): Promise<string> {
  const digest = new Digest();
  for (let at = 0; at < bytes.byteLength; at += sliceBytes) {
    if (at > 0) await turn();
    digest.add(bytes.subarray(at, at + sliceBytes));
  }
  return digest.end();
}
