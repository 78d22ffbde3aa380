import type { Json, Payload } from "../../engine/payload.ts";

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
export interface PayloadStore extends RecordStore, AsyncDisposable {
  /**
   * Writes the payload's bytes unless they are there, intact; atomic, and safe against a crash at any moment. Throws MillraceError
   * ResourceExhausted when the disk, or what the store may hold, is full.
   */
  put(namespaceUid: string, payload: Payload, signal: AbortSignal): Promise<PayloadRef>;
  /**
   * Stores bytes from outside, which are only said to have that digest and size. They are kept if they have, and the promise resolves
   * then; in no case does another writer of the same digest wait for them or share their fate. Throws MillraceError
   * InvalidInput for other bytes, what `body` throws, ResourceExhausted as `put` does.
   */
  receive(
    namespaceUid: string,
    claimed: Pick<PayloadRef, "digest" | "bytes">,
    body: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<"Stored" | "Known">;
  /** A handle that reads lazily. Its `bytes` and `stream` reject with PayloadLost when the bytes are missing or are not what the digest says. */
  open(namespaceUid: string, ref: PayloadRef): Payload;
  /** Size in bytes, or undefined when the store does not have it. */
  stat(namespaceUid: string, digest: string, signal: AbortSignal): Promise<number | undefined>;
  /**
   * Whether all bytes are there and are what the digest says. Touches it as a put does: whoever is told yes has the sweep's
   * grace period to name it, whoever else stops to.
   */
  verify(namespaceUid: string, ref: Pick<PayloadRef, "digest" | "bytes">, signal: AbortSignal): Promise<boolean>;
  /** Everything stored for a namespace: for the sweep. */
  list(namespaceUid: string, signal: AbortSignal): AsyncIterable<StoredPayload>;
  namespaces(signal: AbortSignal): AsyncIterable<string>;
  /**
   * Deletes it unless it was touched at or after that time, in milliseconds since the epoch. Never deletes what a `put` that has
   * resolved found there and touched, in whichever process. False when it was touched meanwhile, or was not there.
   */
  delete(namespaceUid: string, digest: string, touchedBefore: number, signal: AbortSignal): Promise<boolean>;
  /** Counts anew what is stored, by walking through it: others may write to the same store. */
  count(signal: AbortSignal): Promise<void>;
}

export interface StoredPayload {
  readonly digest: string;
  readonly bytes: number;
  /** When it was last written or asked to be written, in milliseconds since the epoch: the sweep's grace period counts from it. */
  readonly touchedAt: number;
}

/** The most that a record's value may have as JSON; in bytes. */
export const maxRecordBytes = 64 * 1024;

/** A small named value beside the payloads, for what is remembered from one Execution to the next. */
export interface PayloadRecord {
  /** In milliseconds since the epoch; nobody is given it from then on. */
  readonly expiresAtMs: number;
  /** Digests of payloads that it keeps alive until then. */
  readonly payloads: readonly string[];
  /** At most 64 KiB. */
  readonly value: Json;
}

/**
 * Records by namespace and key, 32 to 64 lower-case hexadecimal digits. They are a cache: one may be gone at any time, and what
 * it names may be lost (`verify` tells).
 */
export interface RecordStore {
  /** Atomic; replaces what has the key. Throws MillraceError PayloadTooLarge, and ResourceExhausted as `put` does. */
  putRecord(namespaceUid: string, key: string, record: PayloadRecord, signal: AbortSignal): Promise<void>;
  /** Undefined when it is absent, expired or unreadable. */
  getRecord(namespaceUid: string, key: string, signal: AbortSignal): Promise<PayloadRecord | undefined>;
  /** Those that had not expired at that time, in milliseconds since the epoch; deletes all others. For the sweep. */
  records(namespaceUid: string, unexpiredAtMs: number, signal: AbortSignal): AsyncIterable<PayloadRecord>;
}
