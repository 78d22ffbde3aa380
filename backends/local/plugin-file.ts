import { MillraceError } from "../../engine/errors.ts";
import { digestOf } from "../../engine/payload.ts";
import { readConfinedFile } from "../confined-file.ts";

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

const field = "local.module.file";

/**
 * Reads a module of the plugins directory and checks its digest.
 * @throws InvalidInput for a file that is no ES module by its name, and a digest that differs; PayloadTooLarge above 16 MiB; and what
 * {@link readConfinedFile} throws: SandboxViolation for a path that leaves the directory, NotFound, Unavailable
 */
export async function readPluginFile(
  pluginsDir: string,
  file: string,
  pin: string | undefined,
  signal: AbortSignal,
): Promise<PluginFile> {
  if (!extensions.some((extension) => file.endsWith(extension))) {
    throw new MillraceError("InvalidInput", `${field}: ${JSON.stringify(file)} must end in ${extensions.join(", ")}`);
  }
  const directoryName = "plugins directory";
  const tooLarge = (bytes: number) => pluginTooLarge(file, bytes);
  const confined = { directory: pluginsDir, file, directoryName, field, maxBytes: maxModuleBytes, tooLarge };
  const { path, bytes } = await readConfinedFile(confined, signal);
  const digest = digestOf(bytes);
  if (pin !== undefined && pin !== digest) {
    throw new MillraceError(
      "InvalidInput",
      `local.module.digest: ${file} has the digest ${digest}, pinned is ${pin}; pin the new one if the change is meant`,
    );
  }
  return { file, path, bytes, digest };
}

function pluginTooLarge(file: string, bytes: number): MillraceError {
  return new MillraceError(
    "PayloadTooLarge",
    `${field}: ${file} has ${bytes} bytes, over the limit of ${maxModuleBytes} bytes`,
  );
}
