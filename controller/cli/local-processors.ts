import { existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { ByteBudget } from "../../backends/byte-budget.ts";
import { Caller } from "../../backends/call.ts";
import { MillraceError, toMillraceError } from "../../engine/errors.ts";
import type { Invoke } from "../../engine/run.ts";
import { locate } from "../api/manifests.ts";
import type { Pipeline } from "../api/types.ts";
import { type Backends, type BackendsOptions, createBackends } from "../processor/load.ts";
import { processorSpec } from "../processor/spec.ts";
import { type CliContext, CliError } from "./context.ts";
import type { RunFlags } from "./run-flags.ts";
import { folderOf, formatProblem, type Located, namespaceOf, type Workspace } from "./workspace.ts";

/** The Processors that the Pipeline names, loaded; disposing it ends their calls and their backends. */
export class LoadedProcessors implements AsyncDisposable {
  readonly #backends: Backends;
  readonly #callers = new Map<string, Caller>();

  constructor(backends: Backends) {
    this.#backends = backends;
  }

  readonly invoke: Invoke = (attempt, request, signal) => {
    const caller = this.#callers.get(attempt.processor);
    if (caller !== undefined) return caller.call(attempt, request, signal);
    throw new MillraceError("NotFound", `Processor "${attempt.processor}" is not loaded`);
  };

  add(name: string, caller: Caller): void {
    this.#callers.set(name, caller);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#callers.values()].map((caller) => caller[Symbol.asyncDispose]()));
    await this.#backends[Symbol.asyncDispose]();
  }
}

/** Loads what a Pipeline names, all at once; throws CliError with every Processor that could not be loaded, and why. */
export async function loadProcessors(
  workspace: Workspace,
  pipeline: Located<Pipeline>,
  flags: RunFlags,
  context: CliContext,
): Promise<LoadedProcessors> {
  const backends = createBackends(backendsOptions(workspace, flags, context));
  const loaded = new LoadedProcessors(backends);
  const budget = new ByteBudget();
  const namespace = namespaceOf(pipeline);
  const names = [...new Set(pipeline.object.spec.steps.map((step) => step.processor))];
  const load = async (name: string): Promise<void> => {
    const located = workspace.processors.get(`${namespace}/${name}`);
    if (located === undefined) throw new MillraceError("NotFound", `Processor "${name}" is not in the manifests`);
    const spec = processorSpec(namespace, name, located.object.spec);
    const processor = await backends.load(spec, context.interrupted);
    loaded.add(name, new Caller(processor, { limits: spec.limits, ports: context.ports, budget }));
  };
  const results = await Promise.allSettled(names.map(load));
  const failures = results.flatMap((result, index) =>
    result.status === "rejected" ? [loadFailure(workspace, namespace, names[index] ?? "", result.reason)] : [],
  );
  if (failures.length === 0) return loaded;
  await loaded[Symbol.asyncDispose]();
  throw new CliError(failures.join("\n"));
}

function loadFailure(workspace: Workspace, namespace: string, name: string, reason: unknown): string {
  const source = workspace.processors.get(`${namespace}/${name}`)?.source;
  const { code, message } = toMillraceError(reason);
  if (source === undefined) return message;
  const problem = { ...locate(source, "spec"), path: "spec", message: `Processor "${name}": ${code}: ${message}` };
  return formatProblem({ ...problem, severity: "Error" });
}

function backendsOptions(workspace: Workspace, flags: RunFlags, context: CliContext): BackendsOptions {
  const pluginsDir = directory(flags.pluginsDir, "plugins", flags, context);
  const modulesDir = directory(flags.modulesDir, "modules", flags, context);
  return {
    ports: context.ports,
    allowIsolation: flags.allowIsolation,
    readConfigMapKey: (namespace, name, key) => readConfigMapKey(workspace, namespace, name, key),
    ...(pluginsDir === undefined ? {} : { pluginsDir }),
    ...(modulesDir === undefined ? {} : { modulesDir }),
  };
}

/** The folder that was named, or else the first one of its usual name beside the manifests. */
function directory(named: string | undefined, usual: string, flags: RunFlags, context: CliContext): string | undefined {
  if (named !== undefined) return resolve(context.cwd, named);
  return flags.filename
    .filter((path) => path !== "-")
    .map((path) => join(folderOf(path, statSync(resolve(context.cwd, path)).isDirectory(), context), usual))
    .find((path) => existsSync(path));
}

async function readConfigMapKey(
  workspace: Workspace,
  namespace: string,
  name: string,
  key: string,
): Promise<Uint8Array> {
  const content = workspace.configMaps.get(`${namespace}/${name}`);
  if (content === undefined) throw new MillraceError("NotFound", `ConfigMap "${name}" is not in the manifests; add it`);
  const bytes = content.binaryData?.[key];
  if (bytes !== undefined) return Buffer.from(bytes, "base64");
  const text = content.data?.[key];
  if (text !== undefined) return Buffer.from(text, "utf8");
  const keys =
    Object.keys({ ...content.data, ...content.binaryData })
      .sort()
      .join(", ") || "none";
  throw new MillraceError("NotFound", `ConfigMap "${name}" has no key "${key}"; it has: ${keys}`);
}
