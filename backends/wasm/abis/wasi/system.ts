import { createCipheriv, createHash, getRandomValues } from "node:crypto";

/** What WASI shows of the machine, behind one port. */
export interface WasiSystem {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Milliseconds of a clock that never goes back. */
  readonly monotonicNow: () => number;
  /** Blocks this thread. */
  readonly sleep: (ms: number) => void;
  /** Fills it with random bytes. */
  readonly fillRandom: (target: Uint8Array<ArrayBuffer>) => void;
}

const never = new Int32Array(new SharedArrayBuffer(4));

/** The real one. */
export const wasiSystem: WasiSystem = {
  now: () => Date.now(),
  monotonicNow: () => performance.now(),
  sleep: (ms) => void Atomics.wait(never, 0, 0, ms),
  fillRandom: (target) => eachChunk(target, (chunk) => getRandomValues(chunk)),
};

/** `getRandomValues` takes no more at once, and no second copy of a whole memory is wanted. */
const maxChunkBytes = 65_536;

function eachChunk(target: Uint8Array<ArrayBuffer>, fill: (chunk: Uint8Array<ArrayBuffer>) => void): void {
  for (let at = 0; at < target.byteLength; at += maxChunkBytes) fill(target.subarray(at, at + maxChunkBytes));
}

/** What random numbers are drawn for: to make an instance, which may serve more than one call, or for the call itself. */
export type RandomPurpose = "Instance" | "Call";

/** So that a call does not draw again what making its instance has drawn. */
const seedMarks: Readonly<Record<RandomPurpose, string>> = {
  Instance: "millrace wasi random of an instance\0",
  Call: "millrace wasi random\0",
};

/** Random bytes that are the same for the same seed and purpose: AES-256 in counter mode over zeros, the key being their SHA-256. */
export function seededRandom(seed: string, purpose: RandomPurpose): WasiSystem["fillRandom"] {
  const key = createHash("sha256").update(seedMarks[purpose]).update(seed).digest();
  const stream = createCipheriv("aes-256-ctr", key, new Uint8Array(16));
  return (target) => eachChunk(target, (chunk) => chunk.set(stream.update(new Uint8Array(chunk.byteLength))));
}
