import { existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import type { LoadedProcessor } from "../../../backends/backend.ts";
import { ByteBudget } from "../../../backends/byte-budget.ts";
import { Caller } from "../../../backends/call.ts";
import { CheckedProcessor } from "../../../backends/checked.ts";
import { Secrets } from "../../../backends/secrets.ts";
import { MillraceError, toMillraceError } from "../../../engine/errors.ts";
import type { ProcessorFacts } from "../../../engine/pipeline.ts";
import type { Invoke } from "../../../engine/run/run-options.ts";
import { locate } from "../../api/manifests.ts";
import { type Backends, type BackendsOptions, createBackends } from "../../processor/load.ts";
import { decodedSecret } from "../../processor/secret-reader.ts";
import { callSecrets, type NamedSecret } from "../../processor/secret-refs.ts";
import { secretValue } from "../../processor/secret-value.ts";
import { processorFacts, processorSpec } from "../../processor/spec.ts";
import { type CliContext, CliError } from "../context.ts";
import { modulesFrom } from "../module-options.ts";
import { defaultNamespace, folderOf, formatProblem, type Workspace } from "../workspace.ts";
import type { RunFlags } from "./run-flags.ts";

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

  /** Of the code that a call of it runs; empty where there is none to name. */
  digestsOf(name: string): readonly string[] {
    return this.#callers.get(name)?.processor.digests ?? [];
  }

  add(name: string, caller: Caller): void {
    this.#callers.set(name, caller);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#callers.values()].map((caller) => caller[Symbol.asyncDispose]()));
    await this.#backends[Symbol.asyncDispose]();
  }
}

/** Loads these Processors of a namespace, all at once; throws CliError with every one that could not be loaded, and why. */
export async function loadProcessors(
  workspace: Workspace,
  namespace: string,
  names: readonly string[],
  flags: RunFlags,
  context: CliContext,
): Promise<LoadedProcessors> {
  const { promise: settled, resolve: settle } = Promise.withResolvers<void>();
  const backends = createBackends({ ...(await backendsOptions(workspace, flags, context)), settled });
  const loaded = new LoadedProcessors(backends);
  const budget = new ByteBudget();
  const load = async (name: string): Promise<void> => {
    const located = workspace.processors.get(`${namespace}/${name}`);
    if (located === undefined) throw new MillraceError("NotFound", `Processor "${name}" is not in the manifests`);
    const spec = processorSpec(namespace, name, located.object.spec);
    const secrets = localSecrets(workspace, namespace, callSecrets(located.object.spec));
    const processor = await backends.load(spec, context.interrupted);
    const checked = await withChecks(processor, processorFacts(name, located.object.spec));
    loaded.add(
      name,
      new Caller(checked, { limits: spec.limits, ports: context.ports, budget, secrets: () => secrets }),
    );
  };
  const results = await Promise.allSettled(names.map(load));
  settle();
  const failures = results.flatMap((result, index) =>
    result.status === "rejected" ? [loadFailure(workspace, namespace, names[index] ?? "", result.reason)] : [],
  );
  if (failures.length === 0) return loaded;
  await loaded[Symbol.asyncDispose]();
  throw new CliError(failures.join("\n"));
}

/** Held to the schemas that it declares; ajv is loaded only for one that has any. */
async function withChecks(processor: LoadedProcessor, facts: ProcessorFacts): Promise<LoadedProcessor> {
  if (facts.outputSchema === undefined && facts.metadataSchema === undefined) return processor;
  const [{ SchemaCompiler }, { compileSchemas }] = await Promise.all([
    import("../../api/json-schema.ts"),
    import("../../processor/response-schemas.ts"),
  ]);
  const schemas = compileSchemas(facts, new SchemaCompiler());
  if (!schemas.ok) throw new MillraceError("InvalidInput", `${schemas.violation.message}. ${schemas.violation.mend}`);
  return schemas.checks === undefined ? processor : new CheckedProcessor(processor, schemas.checks);
}

/** The values that Secrets of the manifests have. */
function localSecrets(workspace: Workspace, namespace: string, refs: readonly NamedSecret[]): Secrets {
  const values = refs.map((ref) => {
    const { name, secretKeyRef, field } = ref;
    const secret = secretContent(workspace, namespace, secretKeyRef.name);
    if (secret === undefined) {
      throw new MillraceError("NotFound", `${field}.name: ${noSecret(secretKeyRef.name)}`);
    }
    return [name, secretValue(ref, `${namespace}/${secretKeyRef.name}`, secret)];
  });
  return new Secrets(Object.fromEntries(values));
}

function noSecret(name: string): string {
  return `Secret "${name}" is not in the manifests; add one, with data or stringData`;
}

/** A Secret's `data`, with what `stringData` says merged over it, as the API server would. */
function secretContent(
  workspace: Workspace,
  namespace: string,
  name: string,
): { readonly data: Readonly<Record<string, string>> } | undefined {
  const found = workspace.objects.find(
    (one) =>
      one.valid && one.kind === "Secret" && one.name === name && (one.namespace ?? defaultNamespace) === namespace,
  );
  if (found === undefined) return undefined;
  const { data, stringData } = found.object as Readonly<Record<string, Readonly<Record<string, string>> | undefined>>;
  const plain = Object.entries(stringData ?? {}).map(([key, text]) => [key, Buffer.from(text).toString("base64")]);
  return { data: { ...data, ...Object.fromEntries(plain) } };
}

function loadFailure(workspace: Workspace, namespace: string, name: string, reason: unknown): string {
  const source = workspace.processors.get(`${namespace}/${name}`)?.source;
  const { code, message } = toMillraceError(reason);
  if (source === undefined) return message;
  const problem = { ...locate(source, "spec"), path: "spec", message: `Processor "${name}": ${code}: ${message}` };
  return formatProblem({ ...problem, severity: "Error" });
}

async function backendsOptions(workspace: Workspace, flags: RunFlags, context: CliContext): Promise<BackendsOptions> {
  const pluginsDir = directory(flags.pluginsDir, "plugins", flags, context);
  const modulesDir = directory(flags.modulesDir, "modules", flags, context);
  return {
    ports: context.ports,
    version: context.version,
    allowIsolation: flags.allowIsolation,
    modules: await modulesFrom(flags, context),
    warn: (message) => context.stderr.write(`warning: ${message}\n`),
    readSecret: async (namespace, name) => {
      const secret = secretContent(workspace, namespace, name);
      if (secret === undefined) throw new MillraceError("NotFound", noSecret(name));
      return decodedSecret(secret.data);
    },
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
