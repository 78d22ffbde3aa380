import { constants } from "node:fs";
import { type FileHandle, open, realpath } from "node:fs/promises";
import { isAbsolute, join, sep } from "node:path";
import { MillraceError } from "../engine/errors.ts";
import { fillFrom } from "./file-bytes.ts";

/** A file that a Processor names, and the only directory that it may be in. */
export interface ConfinedFile {
  /** Absolute, or relative to the working directory; may be a link itself. */
  readonly directory: string;
  /** Relative to the directory, without `..`. */
  readonly file: string;
  /** The directory as messages name it: `plugins directory`. */
  readonly directoryName: string;
  /** The field that names the file, with which every message begins: `local.module.file`. */
  readonly field: string;
  /** The largest that is read, in bytes. */
  readonly maxBytes: number;
  /** The error for a file that is larger. */
  readonly tooLarge: (bytes: number) => MillraceError;
}

/** What was read, at once and whole. */
export interface ConfinedContent {
  /** Without symbolic links. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

/**
 * Reads a file of a directory. Links within the directory are followed (a mounted ConfigMap is made of them).
 * @throws SandboxViolation when the path or a link leads out of the directory; NotFound; InvalidInput when it is no regular file;
 * `tooLarge`'s error, before anything is read; Unavailable when it cannot be read, or changes while it is read; `signal`'s reason
 */
export async function readConfinedFile(confined: ConfinedFile, signal: AbortSignal): Promise<ConfinedContent> {
  const path = await confinedPath(confined);
  signal.throwIfAborted();
  // Not blocking: opening a named pipe would wait for a writer.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    throw unreadable(confined, error);
  });
  try {
    return { path, bytes: await readRegular(handle, confined, signal) };
  } finally {
    await handle.close();
  }
}

async function confinedPath(confined: ConfinedFile): Promise<string> {
  const { directory, file } = confined;
  if (isAbsolute(file) || file.includes("\0") || file.split(/[/\\]/).includes("..")) throw leadsOut(confined);
  const [root, path] = await Promise.all([real(directory, confined), real(join(directory, file), confined)]);
  if (!path.startsWith(root.endsWith(sep) ? root : root + sep)) throw leadsOut(confined);
  return path;
}

function real(path: string, confined: ConfinedFile): Promise<string> {
  return realpath(path).catch((error: unknown) => {
    throw unreadable(confined, error);
  });
}

async function readRegular(handle: FileHandle, confined: ConfinedFile, signal: AbortSignal): Promise<Uint8Array> {
  const stats = await handle.stat();
  if (!stats.isFile()) throw problem("InvalidInput", confined, "is no regular file");
  if (stats.size > confined.maxBytes) throw confined.tooLarge(stats.size);
  // One byte more than there should be, to see whether there is one.
  const bytes = new Uint8Array(stats.size + 1);
  const length = await fillFrom(handle, bytes, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    throw unreadable(confined, error);
  });
  if (length === stats.size) return bytes.subarray(0, length);
  throw problem("Unavailable", confined, "was changed while it was read. Put files there by renaming them.");
}

function leadsOut(confined: ConfinedFile): MillraceError {
  return problem(
    "SandboxViolation",
    confined,
    `leads out of the ${confined.directoryName}. Name a file inside of it, by a relative path without "..".`,
  );
}

function unreadable(confined: ConfinedFile, cause: unknown): MillraceError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
  const { directoryName } = confined;
  if (code === "ENOENT" || code === "ENOTDIR") {
    const what = `is not in the ${directoryName} (${code}). Put it there, or correct the path.`;
    return problem("NotFound", confined, what, cause);
  }
  return problem("Unavailable", confined, `cannot be read from the ${directoryName} (${code}).`, cause);
}

function problem(
  code: ConstructorParameters<typeof MillraceError>[0],
  { field, file }: ConfinedFile,
  what: string,
  cause?: unknown,
): MillraceError {
  return new MillraceError(code, `${field}: ${JSON.stringify(file)} ${what}`, cause === undefined ? {} : { cause });
}
