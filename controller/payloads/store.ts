import type { Payload } from "../../engine/payload.ts";

/** A payload in the store: what a status row holds instead of bytes. */
export interface PayloadRef {
  /** `sha256:…` of the bytes. */
  readonly digest: string;
  readonly bytes: number;
  readonly contentType: string;
}

/**
 * Content-addressed bytes per namespace: `<namespace UID>/<sha256>`. Nothing crosses namespaces, not even by guessing a
 * digest. A write is durable when its promise resolves; a read verifies the digest. Adapters: `file-system.ts`.
 */
export interface PayloadStore extends AsyncDisposable {
  /** Writes the payload's bytes unless they are there; atomic, and safe against a crash at any moment. Throws MillraceError ResourceExhausted when the disk is full. */
  put(namespaceUid: string, payload: Payload, signal: AbortSignal): Promise<PayloadRef>;
  /** A handle that reads lazily. Its `bytes` and `stream` reject with PayloadLost when the bytes are missing or are not what the digest says. */
  open(namespaceUid: string, ref: PayloadRef): Payload;
  /** Size in bytes, or undefined when the store does not have it. */
  stat(namespaceUid: string, digest: string, signal: AbortSignal): Promise<number | undefined>;
  /** Everything stored for a namespace: for the sweep. */
  list(namespaceUid: string, signal: AbortSignal): AsyncIterable<StoredPayload>;
  namespaces(signal: AbortSignal): AsyncIterable<string>;
  /**
   * Deletes it unless it was touched at or after that time, in milliseconds since the epoch. Never deletes what a `put` that has
   * resolved found there and touched, in whichever process. False when it was touched meanwhile, or was not there.
   */
  delete(namespaceUid: string, digest: string, touchedBefore: number, signal: AbortSignal): Promise<boolean>;
}

export interface StoredPayload {
  readonly digest: string;
  readonly bytes: number;
  /** When it was last written or asked to be written, in milliseconds since the epoch: the sweep's grace period counts from it. */
  readonly touchedAt: number;
}
