import { constants } from "node:fs";
import { type FileHandle, open, realpath } from "node:fs/promises";
import { isAbsolute, join, sep } from "node:path";
import { MillraceError } from "../../../engine/errors.ts";
import { moduleTooLarge, type SourcedModule } from "./source.ts";

/**
 * Reads `file` from the modules directory.
 * @param modulesDir absolute; undefined: none is configured, and every file is NotFound
 * @throws NotFound, SandboxViolation when the path or a symbolic link leads out of the directory, PayloadTooLarge, InvalidInput when it is no regular file
 */
export async function readModuleFile(
  modulesDir: string | undefined,
  file: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<SourcedModule> {
  const source = `file ${file}`;
  if (modulesDir === undefined) {
    throw new MillraceError(
      "NotFound",
      `spec.wasm.source.file: ${file} cannot be read, as no modules directory is configured (--modules-dir).`,
    );
  }
  const path = await confined(modulesDir, file);
  signal.throwIfAborted();
  // Not blocking: opening a named pipe would wait for a writer.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    throw unreadable(file, error);
  });
  try {
    return { bytes: await readRegular(handle, source, maxBytes, signal), source };
  } finally {
    await handle.close();
  }
}

/** The real path, inside the directory. Links within the directory are followed: a mounted ConfigMap is made of them. */
async function confined(modulesDir: string, file: string): Promise<string> {
  const parts = file.split(/[/\\]/);
  if (isAbsolute(file) || file.includes("\0") || parts.includes("..")) throw leadsOut(file);
  const [root, path] = await Promise.all([real(modulesDir, file), real(join(modulesDir, file), file)]);
  if (!path.startsWith(root.endsWith(sep) ? root : root + sep)) throw leadsOut(file);
  return path;
}

function real(path: string, file: string): Promise<string> {
  return realpath(path).catch((error: unknown) => {
    throw unreadable(file, error);
  });
}

function leadsOut(file: string): MillraceError {
  return new MillraceError(
    "SandboxViolation",
    `spec.wasm.source.file: ${JSON.stringify(file)} leads out of the modules directory. Name a file inside of it, by a relative path without "..".`,
  );
}

async function readRegular(
  handle: FileHandle,
  source: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const stats = await handle.stat();
  if (!stats.isFile())
    throw new MillraceError("InvalidInput", `The ${source} is no regular file, but a WASM module is.`);
  if (stats.size > maxBytes) throw moduleTooLarge(source, stats.size, maxBytes);
  const bytes = new Uint8Array(stats.size);
  let length = 0;
  while (length < bytes.byteLength) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(bytes, length, bytes.byteLength - length, length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  // Shorter when it was cut while it was read: the digest and the parser judge what is there.
  return bytes.subarray(0, length);
}

function unreadable(file: string, error: unknown): MillraceError {
  const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new MillraceError(
      "NotFound",
      `spec.wasm.source.file: there is no ${file} in the modules directory. Put it there, or correct the path.`,
      { cause: error },
    );
  }
  return new MillraceError("Unavailable", `spec.wasm.source.file: ${file} cannot be read (${code}).`, { cause: error });
}
