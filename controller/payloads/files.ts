import { createHash } from "node:crypto";
import { link, mkdir, open, readdir, rename, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";

/** A temporary file that nobody has written to for this long was left behind by a crash. In milliseconds. */
const leftoverAgeMs = 60 * 60 * 1000;

/** Is told what came before any of it is durable; throws if it is not what it should be. */
export type CheckBytes = (digest: string, bytes: number) => void;

/** Writes a new file and syncs it, dated by the injected clock, from which the sweep counts. Throws what `check` throws. */
export async function writeDurably(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  nowMs: number,
  check: CheckBytes,
  signal: AbortSignal,
): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await checkBytes(chunks, check, signal, (chunk) => file.writeFile(chunk));
    await file.utimes(nowMs / 1000, nowMs / 1000);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Reads all chunks, hands each on, and checks them. Throws what `check` throws. */
export async function checkBytes(
  chunks: AsyncIterable<Uint8Array>,
  check: CheckBytes,
  signal: AbortSignal,
  take: (chunk: Uint8Array) => Promise<void>,
): Promise<void> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of chunks) {
    signal.throwIfAborted();
    hash.update(chunk);
    bytes += chunk.byteLength;
    await take(chunk);
  }
  check(`sha256:${hash.digest("hex")}`, bytes);
}

/** Makes the folder, and makes every new name on the way to it durable. */
export async function makeFolder(root: string, folder: string): Promise<void> {
  const made = await mkdir(folder, { recursive: true, mode: 0o700 });
  if (made === undefined) return;
  for (let path = folder; path.length >= Math.min(made.length, root.length); path = dirname(path)) {
    await syncFolder(dirname(path));
    if (path === made || path === dirname(path)) return;
  }
}

/** Gives a file that was set aside its name again; never over one that was written meanwhile: that one is younger. */
export async function putBack(aside: string, path: string): Promise<void> {
  try {
    await link(aside, path);
    await unlink(aside);
  } catch (error) {
    if (errno(error) === "EEXIST") await unlink(aside);
    // A file system without hard links.
    else await rename(aside, path);
  }
  await syncFolder(dirname(path));
}

export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** The names in a folder, in order; none when it is not there. */
export async function entries(folder: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    if (isMissing(error) || errno(error) === "ENOTDIR") return [];
    throw translate(error, "list payloads");
  }
}

/** In bytes; 0 when it is not there. */
export async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isMissing(error)) return 0;
    throw translate(error, "look into the payload store");
  }
}

/** Whether a temporary file is so old that its writer must have died. */
export async function isLeftover(path: string, clock: Clock): Promise<boolean> {
  try {
    return clock.now() - (await stat(path)).mtimeMs > leftoverAgeMs;
  } catch (error) {
    if (isMissing(error)) return false;
    throw translate(error, "look into the payload store");
  }
}

export function isMissing(error: unknown): boolean {
  return errno(error) === "ENOENT";
}

const fullCodes: readonly (string | undefined)[] = ["ENOSPC", "EDQUOT", "EMFILE", "ENFILE"];

/** Errno to the closed set. */
export function translate(error: unknown, action: string): MillraceError {
  if (error instanceof MillraceError) return error;
  const text = error instanceof Error ? error.message : String(error);
  if (fullCodes.includes(errno(error))) {
    const mend = "make room in the payload store, or shorten ttlSecondsAfterFinished";
    return new MillraceError("ResourceExhausted", `cannot ${action}: ${text}; ${mend}`, { cause: error });
  }
  const mend = "the payload store's folder must be readable and writable by the controller";
  return new MillraceError("Unavailable", `cannot ${action}: ${text}; ${mend}`, { cause: error });
}

function errno(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
