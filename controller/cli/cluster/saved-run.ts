import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parse } from "yaml";
import type { KubernetesObject } from "../../api/client.ts";
import type { Execution } from "../../api/types.ts";
import type { PipelineClosure } from "../../catalog.ts";
import { FileSystemStore } from "../../payloads/file-system.ts";
import type { PayloadReader } from "../../payloads/manifest.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";

/** Where in its folder a saved run has what. */
export const savedPlaces = { execution: "execution.yaml", revision: "revision.yaml", payloads: "payloads" } as const;

/** A run that `millrace run --save DIR` left. */
export interface SavedRun {
  readonly execution: Execution;
  /** The Pipeline as it was run; absent if its file is gone. */
  readonly closure: PipelineClosure | undefined;
  /** By the Execution's UID. Its handles reject with PayloadLost for what the folder does not have. */
  readonly reader: PayloadReader;
}

/** `name`, if it is given, must be the saved Execution's. Throws CliError. */
export async function openSaved(folder: string, name: string | undefined, context: CliContext): Promise<SavedRun> {
  const path = resolve(context.cwd, folder);
  const execution = (await readObject(join(path, savedPlaces.execution))) as Execution | undefined;
  if (execution === undefined) {
    const mend = "give the folder that was named with: millrace run --save DIR";
    throw new CliError(`--saved: ${folder} has no ${savedPlaces.execution}; ${mend}`, exitCodes.usage);
  }
  if (name !== undefined && name !== execution.metadata.name) {
    throw new CliError(
      `--saved: ${folder} holds Execution "${execution.metadata.name}", not "${name}"`,
      exitCodes.usage,
    );
  }
  const revision = await readObject(join(path, savedPlaces.revision));
  return {
    execution,
    closure: revision?.data as PipelineClosure | undefined,
    reader: savedPayloads(path, context),
  };
}

/** The payloads of a saved run's folder. They are kept under the Execution's UID, as a cluster keeps them under its namespace's. */
export function savedPayloads(folder: string, { ports }: CliContext): FileSystemStore {
  return new FileSystemStore({ root: join(folder, savedPlaces.payloads), clock: ports.clock, writer: "run" });
}

async function readObject(path: string): Promise<KubernetesObject | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new CliError(`--saved: ${path} cannot be read (${code})`, exitCodes.failed, { cause });
  }
  try {
    const object = parse(text) as Partial<KubernetesObject> | null;
    if (typeof object?.metadata?.name === "string") return object as KubernetesObject;
  } catch (cause) {
    throw new CliError(`--saved: ${path} is not YAML: ${(cause as Error).message}`, exitCodes.failed, { cause });
  }
  throw new CliError(`--saved: ${path} holds no object of the API`);
}
