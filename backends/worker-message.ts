import type { Transferable } from "node:worker_threads";

/** What the pool sends to a worker. */
export type ToWorker =
  | { readonly type: "Job"; readonly id: number; readonly body: unknown }
  | { readonly type: "Abort"; readonly id: number };

/** What a worker sends to the pool. */
export type FromWorker =
  | { readonly type: "Ready" }
  | { readonly type: "Done"; readonly id: number; readonly body: unknown }
  /** The job logged; `cutBytes` is what was left out at the text's end. */
  | { readonly type: "Log"; readonly id: number; readonly text: string; readonly cutBytes: number }
  /** The handler threw. */
  | { readonly type: "Threw"; readonly id: number; readonly message: string };

/** A structured-cloneable body, and the buffers in it that change hands instead of being copied. */
export interface WorkerBody {
  readonly body: unknown;
  readonly transfer?: readonly Transferable[];
}

/** A job, or what makes it when a worker is there to take it: so that a job that waits holds no copy of its payload. */
export type WorkerJob = WorkerBody | (() => WorkerBody);

/** From this size on moving a buffer is cheaper than cloning it. */
const minTransferBytes = 16 * 1024;

/**
 * Bytes that may be posted: cloning a view clones all of the buffer under it (a pooled Buffer's is 8 KiB), and a buffer
 * that is moved is lost to its owner, so what is large or shares its buffer is copied first.
 */
export function postable(bytes: Uint8Array): {
  readonly bytes: Uint8Array;
  readonly transfer: readonly Transferable[];
} {
  if (bytes.byteLength < minTransferBytes) {
    return { bytes: bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes), transfer: [] };
  }
  const copy = new Uint8Array(bytes);
  return { bytes: copy, transfer: [copy.buffer] };
}
