import type { MillraceError } from "../../../engine/errors.ts";

/** How slow a download may be: it may last `graceMs`, and longer by what has come of it at `bytesPerSecond`. */
export interface Pace {
  readonly graceMs: number;
  readonly bytesPerSecond: number;
}

/** Of modules: one of 1 MiB has 46 s, one of 32 MiB nine minutes, and what drips 30 s. */
export const modulePace: Pace = { graceMs: 30_000, bytesPerSecond: 64 * 1024 };

/** A download; `came` is to be told of each part. */
export type Download<Result> = (signal: AbortSignal, came: (part: Uint8Array) => void) => Promise<Result>;

/**
 * Bounds the whole of a download, its head included, by its pace: a server that sends a byte now and then is never silent, and never done.
 * @param tooSlow the error for that, told how many bytes came, and why it was ended
 * @throws `tooSlow`'s error, `signal`'s reason, what the download throws
 */
export async function paced<Result>(
  { graceMs, bytesPerSecond }: Pace,
  signal: AbortSignal,
  tooSlow: (bytes: number, why: Error) => MillraceError,
  download: Download<Result>,
): Promise<Result> {
  const slow = new AbortController();
  const startMs = performance.now();
  let bytes = 0;
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    const leftMs = startMs + graceMs + (bytes / bytesPerSecond) * 1000 - performance.now();
    if (leftMs <= 0) slow.abort(new Error(`under ${bytesPerSecond} bytes a second, beyond the first ${graceMs} ms`));
    else timer = setTimeout(look, Math.ceil(leftMs)).unref();
  };
  look();
  try {
    return await download(AbortSignal.any([signal, slow.signal]), (part) => {
      bytes += part.byteLength;
    });
  } catch (error) {
    signal.throwIfAborted();
    throw error === slow.signal.reason ? tooSlow(bytes, slow.signal.reason as Error) : error;
  } finally {
    clearTimeout(timer);
  }
}
