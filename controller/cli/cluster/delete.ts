import { Command } from "commander";
import { sleep } from "../../../engine/clock.ts";
import type { Client, KubernetesObject, Resource } from "../../api/client.ts";
import { executions, pipelines } from "../../api/kinds.ts";
import type { Execution } from "../../api/types.ts";
import { isFinished } from "../../execution/objects.ts";
import { isConflict, isNotFound } from "../../runtime/api-errors.ts";
import { type CliContext, CliError } from "../context.ts";
import { addClusterOptions, Cluster, type ClusterFlags, told } from "./cluster.ts";

interface DeleteFlags extends ClusterFlags {
  readonly executions?: true;
  readonly dryRun?: true;
  readonly wait?: true;
}

/** `millrace delete pipeline NAME`. */
export function deleteCommand(context: CliContext): Command {
  const pipeline = new Command("pipeline")
    .description("Delete a Pipeline, and its Executions if asked to.")
    .argument("<name>", "name of the Pipeline")
    .option("--executions", "delete its Executions too; those that run are cancelled by that")
    .option("--dry-run", "delete nothing, say what would be")
    .option("--wait", "come back when all of it is gone, finalizers included")
    .addHelpText("after", examples);
  addClusterOptions(pipeline, "Pipeline").action((name: string, flags: DeleteFlags) =>
    told(context, async () => {
      await using cluster = new Cluster(flags, context);
      await new Deletion(cluster, name, flags, context).run();
    }),
  );
  return new Command("delete").description("Delete a Pipeline with what belongs to it.").addCommand(pipeline);
}

const examples = `
Without --executions a Pipeline's Executions stay: those that run go on with the revision that they started with, and those
that have not begun wait for a Pipeline of that name.
Exit code 0: deleted; 1: there is no such Pipeline, or the cluster refused; 2: wrong usage; 130: interrupted.

Examples:
  millrace delete pipeline article
  millrace delete pipeline article --executions --dry-run
  millrace delete pipeline article --executions --wait`;

/** Deletions in flight. */
const atOnce = 16;

/** A line of progress for so many. */
const perLine = 500;

/** How often `--wait` looks, in milliseconds. */
const lookMs = 500;

class Deletion {
  readonly #client: Client;
  readonly #namespace: string;
  readonly #name: string;
  readonly #flags: DeleteFlags;
  readonly #context: CliContext;

  constructor({ client, namespace }: Cluster, name: string, flags: DeleteFlags, context: CliContext) {
    this.#client = client;
    this.#namespace = namespace;
    this.#name = name;
    this.#flags = flags;
    this.#context = context;
  }

  async run(): Promise<void> {
    const pipeline = await this.#pipeline();
    const found = await this.#executions();
    if (pipeline === undefined && (this.#flags.executions === undefined || found.length === 0))
      throw this.#missing(found);
    if (pipeline !== undefined) await this.#delete(pipelines, pipeline);
    if (pipeline !== undefined) this.#print(`pipeline.millrace.dev/${this.#name} deleted`);
    const gone: Pick<KubernetesObject, "metadata">[] = pipeline === undefined ? [] : [pipeline];
    if (this.#flags.executions === undefined) this.#tellOfThoseThatStay(found);
    else gone.push(...(await this.#deleteExecutions(found)));
    if (this.#flags.wait !== undefined && this.#flags.dryRun === undefined) await this.#untilGone(gone);
  }

  async #pipeline(): Promise<KubernetesObject | undefined> {
    const ref = { namespace: this.#namespace, name: this.#name };
    try {
      return await this.#client.get(pipelines, ref, this.#context.interrupted);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** Without what is large: a Pipeline may have a hundred thousand. */
  async #executions(): Promise<readonly Listed[]> {
    const found: Listed[] = [];
    let page: string | undefined;
    do {
      const options = {
        namespace: this.#namespace,
        fieldSelector: `spec.pipeline=${this.#name}`,
        ...(page === undefined ? {} : { continue: page }),
      };
      const answer = await this.#client.list(executions, options, this.#context.interrupted);
      found.push(...answer.items.map(listed));
      page = answer.continue;
    } while (page !== undefined);
    return found;
  }

  async #deleteExecutions(found: readonly Listed[]): Promise<readonly Listed[]> {
    const queue = found.values();
    let deleted = 0;
    const work = async () => {
      for (const execution of queue) {
        await this.#delete(executions, execution);
        deleted += 1;
        if (deleted % perLine === 0) this.#say(`${deleted} of ${found.length} Executions ${this.#deleted()}`);
      }
    };
    try {
      await Promise.all(Array.from({ length: atOnce }, work));
    } catch (error) {
      this.#say(`${deleted} of ${found.length} Executions are deleted; the same command deletes the others`);
      throw error;
    }
    const running = found.filter(({ isOver }) => !isOver).length;
    const cancelled = running === 0 ? "" : `, ${running} of them before they had ended`;
    this.#print(`${counted(found.length)} of pipeline.millrace.dev/${this.#name} deleted${cancelled}`);
    return found;
  }

  /** One of the same name that was made in the meantime is another one. */
  async #delete(resource: Resource, { metadata: { name, uid } }: Pick<KubernetesObject, "metadata">): Promise<void> {
    if (this.#flags.dryRun !== undefined) return;
    const ref = { namespace: this.#namespace, name };
    try {
      const options = { propagationPolicy: "Background" as const, ...(uid && { uid }) };
      await this.#client.delete(resource, ref, options, this.#context.interrupted);
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }

  #tellOfThoseThatStay(found: readonly Listed[]): void {
    if (found.length === 0) return;
    const unfinished = found.filter(({ isOver }) => !isOver).length;
    const going =
      unfinished === 0 ? "" : `; ${unfinished} of them, which have not ended, keep the revision that they started with`;
    const mend = `millrace delete pipeline ${this.#name} --executions -n ${this.#namespace}`;
    this.#say(
      `${counted(found.length)} of it ${found.length === 1 ? "stays" : "stay"}${going}. To delete them: ${mend}`,
    );
  }

  async #untilGone(gone: readonly Pick<KubernetesObject, "metadata">[]): Promise<void> {
    const { interrupted, ports } = this.#context;
    const uids = new Set(gone.map(({ metadata }) => metadata.uid));
    let said = 0;
    for (;;) {
      const pipeline = await this.#pipeline();
      const left = [...(pipeline === undefined ? [] : [pipeline]), ...(await this.#executions())];
      const count = left.filter(({ metadata }) => uids.has(metadata.uid)).length;
      if (count === 0) return;
      if (count !== said) this.#say(`waits for ${count} ${count === 1 ? "object" : "objects"} with finalizers to go`);
      said = count;
      await sleep(lookMs, ports.scheduler, interrupted);
    }
  }

  #missing(found: readonly Listed[]): CliError {
    const what = `there is no Pipeline "${this.#name}" in namespace ${this.#namespace}`;
    if (found.length === 0) return new CliError(`${what}; see: kubectl get mpipe -n ${this.#namespace}`);
    return new CliError(`${what}, but ${counted(found.length)} of it; give --executions to delete them`);
  }

  #deleted(): string {
    return this.#flags.dryRun === undefined ? "are deleted" : "would be deleted";
  }

  #print(line: string): void {
    this.#context.stdout.write(`${line}${this.#flags.dryRun === undefined ? "" : " (dry run)"}\n`);
  }

  #say(line: string): void {
    this.#context.stderr.write(`${line}\n`);
  }
}

/** What is kept of an Execution to be deleted. */
interface Listed extends Pick<KubernetesObject, "metadata"> {
  readonly isOver: boolean;
}

function listed(object: KubernetesObject): Listed {
  const { metadata, status } = object as Execution;
  const { name, uid = "" } = metadata;
  return { metadata: { name, uid }, isOver: isFinished(status) };
}

function counted(count: number): string {
  return `${count} ${count === 1 ? "Execution" : "Executions"}`;
}
