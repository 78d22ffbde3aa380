import { readFile, realpath, stat } from "node:fs/promises";
import { isAbsolute, join, relative, sep } from "node:path";
import { MillraceError } from "../../engine/errors.ts";
import { digestOf } from "../../engine/payload.ts";

/** A file of the plugins directory, read once: what is verified is what is loaded. */
export interface PluginFile {
  /** As the spec names it. */
  readonly file: string;
  /** Without symbolic links. */
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly digest: string;
}

/** What is larger is no module somebody wrote. */
const maxModuleBytes = 16 * 1024 * 1024;

const extensions = [".mjs", ".js", ".mts", ".ts"] as const;

/**
 * Reads a module of the plugins directory and checks its digest.
 * @throws InvalidInput for a path that leaves the directory, a file that is no ES module by its name, and a digest that
 * differs; NotFound when there is no such file; PayloadTooLarge above 16 MiB
 */
export async function readPluginFile(pluginsDir: string, file: string, pin: string | undefined): Promise<PluginFile> {
  if (isAbsolute(file) || file.includes("\0") || file.split(/[/\\]/).includes("..")) {
    throw new MillraceError(
      "InvalidInput",
      `local.module.file: ${JSON.stringify(file)} must be a path within the plugins directory, without ".."`,
    );
  }
  if (!extensions.some((extension) => file.endsWith(extension))) {
    throw new MillraceError(
      "InvalidInput",
      `local.module.file: ${JSON.stringify(file)} must end in ${extensions.join(", ")}`,
    );
  }
  const path = await resolved(pluginsDir, file);
  const bytes = await contents(path, file);
  const digest = digestOf(bytes);
  if (pin !== undefined && pin !== digest) {
    throw new MillraceError(
      "InvalidInput",
      `local.module.digest: ${file} has the digest ${digest}, pinned is ${pin}; pin the new one if the change is meant`,
    );
  }
  return { file, path, bytes, digest };
}

/** Links are followed within the directory only. */
async function resolved(pluginsDir: string, file: string): Promise<string> {
  try {
    const root = await realpath(pluginsDir);
    const path = await realpath(join(root, file));
    const within = relative(root, path);
    if (within !== ".." && !within.startsWith(`..${sep}`) && !isAbsolute(within)) return path;
  } catch (error) {
    throw missing(file, error);
  }
  throw new MillraceError(
    "InvalidInput",
    `local.module.file: ${JSON.stringify(file)} is a link out of the plugins directory`,
  );
}

async function contents(path: string, file: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    if (size > maxModuleBytes) {
      throw new MillraceError(
        "PayloadTooLarge",
        `local.module.file: ${file} has ${size} bytes, over the limit of ${maxModuleBytes} bytes`,
      );
    }
    return await readFile(path);
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    throw missing(file, error);
  }
}

function missing(file: string, cause: unknown): MillraceError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown error";
  return new MillraceError(
    "NotFound",
    `local.module.file: ${JSON.stringify(file)} cannot be read from the plugins directory (${code})`,
    { cause },
  );
}
