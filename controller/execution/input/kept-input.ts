import { MillraceError, toMillraceError } from "../../../engine/errors.ts";
import type { BytesPayload, Payload } from "../../../engine/payload.ts";
import { isTransient } from "../../runtime/api-errors.ts";
import type { RunPayloads } from "../recording/payloads.ts";

/** Reads a run's input again from where it came from. Throws MillraceError, ApiError. */
export type ReadAgain = (signal: AbortSignal) => Promise<Payload>;

/**
 * What a run should hold instead of its input: a large one goes to the payload store, so that a thousand runs do not
 * keep a thousand ConfigMaps in memory. Throws MillraceError.
 */
export async function keptInput(
  input: BytesPayload,
  payloads: RunPayloads,
  readAgain: ReadAgain,
  signal: AbortSignal,
): Promise<Payload> {
  const kept = await payloads.keep(input, signal);
  return kept === input ? input : new KeptInput(kept, readAgain);
}

/**
 * An input in the payload store. No status names it, so the sweep may take it from a run that is older than the sweep's
 * grace period: then it is read again from where it came from.
 */
class KeptInput implements Payload {
  readonly contentType: string;
  readonly size: number;
  readonly digest: string;
  readonly #stored: Payload;
  readonly #readAgain: ReadAgain;

  constructor(stored: Payload, readAgain: ReadAgain) {
    this.contentType = stored.contentType;
    this.size = stored.size;
    this.digest = stored.digest;
    this.#stored = stored;
    this.#readAgain = readAgain;
  }

  async bytes(signal: AbortSignal): Promise<Uint8Array> {
    try {
      return await this.#stored.bytes(signal);
    } catch (error) {
      if (!(error instanceof MillraceError) || error.code !== "PayloadLost") throw error;
      return await this.#again(signal, error);
    }
  }

  /** In one piece: an object of the API holds a megabyte or so. */
  stream(signal: AbortSignal): ReadableStream<Uint8Array> {
    return ReadableStream.from(this.#whole(signal));
  }

  async *#whole(signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    yield await this.bytes(signal);
  }

  async #again(signal: AbortSignal, cause: MillraceError): Promise<Uint8Array> {
    const again = await this.#readAgain(signal).catch((error: unknown) => {
      signal.throwIfAborted();
      const message = `the run's input is not in the payload store any more, and could not be read again: ${toMillraceError(error).message}`;
      throw new MillraceError(isTransient(error) ? "Unavailable" : "PayloadLost", message, { cause: error });
    });
    if (again.digest === this.digest) return await again.bytes(signal);
    const message = `the run's input ${this.digest} is not in the payload store any more, and where it came from there is another one now; create the Execution anew`;
    throw new MillraceError("PayloadLost", message, { cause });
  }
}
