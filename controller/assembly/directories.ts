import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { makeFolders } from "../../backends/make-folders.ts";
import { PreflightError } from "./preflight.ts";

export interface Directories {
  readonly pluginsDir?: string;
  readonly modulesDir?: string;
  readonly payloadsDir: string;
}

/** Checks that the folders given are there and can be used; makes that for payloads. Throws PreflightError. */
export async function checkDirectories({ pluginsDir, modulesDir, payloadsDir }: Directories): Promise<void> {
  if (pluginsDir !== undefined) await checkReadable(pluginsDir, "--plugins-dir");
  if (modulesDir !== undefined) await checkReadable(modulesDir, "--modules-dir");
  try {
    await makeFolders(payloadsDir);
    await access(payloadsDir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new PreflightError(`--payloads-dir ${payloadsDir} cannot be written to (${why}); give a folder that can`, {
      cause: error,
    });
  }
}

async function checkReadable(directory: string, flag: string): Promise<void> {
  const stats = await stat(directory).catch(() => undefined);
  if (stats?.isDirectory()) return;
  const what = stats === undefined ? "does not exist" : "is not a folder";
  throw new PreflightError(`${flag} ${directory} ${what}; give the folder that holds the files, or leave the flag out`);
}
