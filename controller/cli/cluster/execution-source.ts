import { Option } from "commander";
import type { Payload } from "../../../engine/payload.ts";
import type { Execution } from "../../api/types.ts";
import type { PayloadReader } from "../../payloads/manifest.ts";
import type { RemotePayloads } from "../../payloads/remote.ts";
import type { PayloadRef } from "../../payloads/store.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";
import { Cluster, type PayloadFlags } from "./cluster.ts";
import { openSaved } from "./saved-run.ts";

/** Where an Execution is, and how its payloads are reached. */
export interface SourceFlags extends PayloadFlags {
  readonly saved?: string;
}

/** What a command was told to look at: `[EXECUTION] [STEP]`. */
export interface Looked {
  readonly execution: Execution;
  readonly step: string | undefined;
}

/** Where payloads are read from, and what their owner is called there. */
export interface OpenPayloads {
  readonly reader: PayloadReader;
  /** A namespace for a controller's endpoint, a UID for a folder. */
  readonly owner: string;
}

/** An Execution and its payloads, in a cluster or in the folder of a saved run. */
export class ExecutionSource implements AsyncDisposable {
  readonly cluster: Cluster | undefined;
  readonly #flags: SourceFlags;
  readonly #context: CliContext;
  /** Of what is going to be read, for the message when no endpoint is known. */
  readonly #what: string;
  #remote: RemotePayloads | undefined;
  #payloads: OpenPayloads | undefined;

  /** Throws KubeConfigError. */
  constructor(flags: SourceFlags, context: CliContext, what: string) {
    this.#flags = flags;
    this.#context = context;
    this.#what = what;
    this.cluster = flags.saved === undefined ? new Cluster(flags, context) : undefined;
  }

  /** A saved run has one Execution, whose name may be left out before the step's. Throws CliError, ApiError. */
  async look(names: readonly (string | undefined)[]): Promise<Looked> {
    const [first, second] = names;
    if (this.cluster !== undefined) {
      if (first === undefined) throw new CliError("name the Execution, or give --saved DIR", exitCodes.usage);
      return { execution: await this.cluster.execution(first), step: second };
    }
    const saved = await openSaved(this.#flags.saved ?? "", second === undefined ? undefined : first, this.#context);
    const { execution, reader } = saved;
    this.#payloads = { reader, owner: execution.metadata.uid ?? "" };
    return { execution, step: second ?? (first === execution.metadata.name ? undefined : first) };
  }

  /** After `look`. Throws CliError, ApiError. */
  async payloads(): Promise<OpenPayloads> {
    if (this.#payloads !== undefined) return this.#payloads;
    if (this.cluster === undefined) throw new Error("payloads are asked for before their Execution");
    this.#remote = await this.cluster.payloads(this.#flags, this.#what);
    this.#payloads = { reader: this.#remote, owner: this.cluster.namespace };
    return this.#payloads;
  }

  /** A handle on what a row names. Throws as `payloads` does. */
  async open(ref: PayloadRef): Promise<Payload> {
    const { reader, owner } = await this.payloads();
    return reader.open(owner, ref);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#remote?.[Symbol.asyncDispose]();
    await this.cluster?.[Symbol.asyncDispose]();
  }
}

export function savedOption(): Option {
  return new Option("--saved <dir>", 'look at what "millrace run --save DIR" left, without a cluster');
}
