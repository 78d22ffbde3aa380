import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { stringify } from "yaml";
import { makeFolders } from "../../../backends/make-folders.ts";
import type { Payload } from "../../../engine/payload.ts";
import type { ExecutionIdentity, ProcessorRequest } from "../../../engine/processor.ts";
import type { Execution } from "../../api/types.ts";
import type { PipelineClosure } from "../../catalog.ts";
import { requestDigest } from "../../execution/known/request-digest.ts";
import { RunPayloads } from "../../execution/recording/payloads.ts";
import { StepLogs } from "../../execution/recording/step-logs.ts";
import type { FileSystemStore } from "../../payloads/file-system.ts";
import { revisionName, revisionObject } from "../../pipeline/revision.ts";
import { savedPayloads, savedPlaces } from "../cluster/saved-run.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";

/** A run of this process that is being saved: the folder is a saved run once its Execution is in it, which comes last. */
export class SavingRun implements AsyncDisposable {
  readonly payloads: RunPayloads;
  readonly logs: StepLogs;
  /** The name of the revision that holds the Pipeline. */
  readonly revision: string;
  readonly #folder: string;
  readonly #store: FileSystemStore;
  readonly #identity: ExecutionIdentity;
  readonly #closure: PipelineClosure;

  private constructor(folder: string, identity: ExecutionIdentity, closure: PipelineClosure, context: CliContext) {
    this.#folder = folder;
    this.#identity = identity;
    this.#closure = closure;
    this.#store = savedPayloads(folder, context);
    this.payloads = new RunPayloads(this.#store, { uidOf: async () => identity.uid }, identity.namespace);
    this.logs = new StepLogs();
    this.revision = revisionName(closure);
  }

  /** Makes the folder. Throws CliError unless it is empty. */
  static async begin(
    folder: string,
    identity: ExecutionIdentity,
    closure: PipelineClosure,
    context: CliContext,
  ): Promise<SavingRun> {
    const path = resolve(context.cwd, folder);
    try {
      await makeFolders(path);
      const found = await readdir(path);
      if (found.length === 0) {
        await mkdir(join(path, savedPlaces.payloads));
        return new SavingRun(path, identity, closure, context);
      }
    } catch (cause) {
      const { message } = cause as NodeJS.ErrnoException;
      throw new CliError(`--save: ${folder} cannot be made: ${message}`, exitCodes.usage, { cause });
    }
    throw new CliError(`--save: ${folder} is not empty; name a folder that is not there yet`, exitCodes.usage);
  }

  /** For the row; see `Recorder.used`. */
  requestOf(request: ProcessorRequest): string {
    return requestDigest(request, "");
  }

  async put(payload: Payload, signal: AbortSignal): Promise<void> {
    await this.#store.put(this.#identity.uid, payload, signal);
  }

  async finish(execution: Execution): Promise<void> {
    const { namespace } = this.#identity;
    await this.#write(savedPlaces.revision, revisionObject(namespace, this.revision, this.#closure));
    await this.#write(savedPlaces.execution, execution);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store[Symbol.asyncDispose]();
  }

  async #write(name: string, object: object): Promise<void> {
    // Anchors would be right, and hard to read.
    await writeFile(join(this.#folder, name), stringify(object, { aliasDuplicateObjects: false }));
  }
}
