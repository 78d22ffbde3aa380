import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { MillraceError } from "../../engine/errors.ts";
import type { Payload } from "../../engine/payload.ts";
import { isMissing, translate } from "./files.ts";
import type { PayloadRef } from "./store.ts";

const chunkBytes = 64 * 1024;

/** A handle on a file; each read verifies size and digest. */
export class FilePayload implements Payload {
  readonly contentType: string;
  readonly size: number;
  readonly digest: string;
  readonly #path: string;

  constructor(path: string, ref: PayloadRef) {
    this.#path = path;
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
      if (`sha256:${hash.digest("hex")}` !== this.digest) throw this.#lost("is corrupt: its bytes have another digest");
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
    const message = `payload ${this.digest} ${what} in the payload store; an Execution with retryFrom runs again what gave it, and no more`;
    return new MillraceError("PayloadLost", message, { cause });
  }
}
