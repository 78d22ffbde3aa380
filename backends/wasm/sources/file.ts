import { MillraceError } from "../../../engine/errors.ts";
import { readConfinedFile } from "../../confined-file.ts";
import { moduleTooLarge, type SourcedModule } from "./source.ts";

const field = "spec.wasm.source.file";

/**
 * Reads `file` from the modules directory.
 * @param modulesDir absolute; undefined: none is configured, and every file is NotFound
 * @throws NotFound, PayloadTooLarge, and what {@link readConfinedFile} throws: SandboxViolation, InvalidInput, Unavailable
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
      `${field}: ${file} cannot be read, as no modules directory is configured (--modules-dir).`,
    );
  }
  const tooLarge = (bytes: number) => moduleTooLarge(source, bytes, maxBytes);
  const confined = { directory: modulesDir, file, directoryName: "modules directory", field, maxBytes, tooLarge };
  const { bytes } = await readConfinedFile(confined, signal);
  return { bytes, source };
}
