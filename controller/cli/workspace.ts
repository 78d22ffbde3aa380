import { dirname, resolve } from "node:path";
import { addAbortSignal } from "node:stream";
import type { Problem, ProcessorFacts } from "../../engine/pipeline.ts";
import type { SchemaCompiler } from "../api/json-schema.ts";
import { type LocatedObject, type LocatedProblem, loadManifests, locate } from "../api/manifests.ts";
import type { Pipeline, PipelineSpec, Processor } from "../api/types.ts";
import type { AnyPipelineSpec } from "../catalog.ts";
import { checkPipeline, type PipelineCheck, usesSchemas } from "../pipeline/check.ts";
import { resolveNames } from "../pipeline/named.ts";
import { processorFacts } from "../processor/spec.ts";
import { type CliContext, CliError, exitCodes } from "./context.ts";
import { printable } from "./terminal/printable.ts";

/** Where an object without a namespace is, when there is no cluster to say otherwise. */
export const defaultNamespace = "default";

/** Manifests as the API server would hold them: checked, defaults filled in. */
export interface Workspace {
  readonly objects: readonly LocatedObject[];
  /** Of all objects, those that are refused included; in the order of files and lines. */
  readonly problems: readonly LocatedProblem[];
  /** By namespace and name; only those that the API server would take. */
  readonly processors: ReadonlyMap<string, Located<Processor>>;
  readonly pipelines: ReadonlyMap<string, Located<Pipeline>>;
  readonly configMaps: ReadonlyMap<string, ConfigMapContent>;
}

export interface Located<T> {
  readonly object: T;
  readonly source: LocatedObject;
}

/** What a ConfigMap holds, by key. */
export interface ConfigMapContent {
  readonly data?: Readonly<Record<string, string>>;
  readonly binaryData?: Readonly<Record<string, string>>;
}

/** Reads and checks manifests, `-` from standard input; what is wrong with them is in `problems`. */
export async function openWorkspace(files: readonly string[], context: CliContext): Promise<Workspace> {
  const stdin = files.includes("-") ? addAbortSignal(context.interrupted, context.stdin) : undefined;
  const { objects, problems } = await loadManifests(files, stdin);
  if (context.interrupted.aborted) throw new CliError("", exitCodes.cancelled);
  const processors = new Map<string, Located<Processor>>();
  const pipelines = new Map<string, Located<Pipeline>>();
  const configMaps = new Map<string, ConfigMapContent>();
  for (const source of objects) {
    if (!source.valid) continue;
    const key = `${source.namespace ?? defaultNamespace}/${source.name}`;
    // Valid: the schema of its kind holds.
    const { object } = source as { readonly object: unknown };
    if (source.kind === "Processor") processors.set(key, { object: object as Processor, source });
    if (source.kind === "Pipeline") pipelines.set(key, { object: object as Pipeline, source });
    if (source.kind === "ConfigMap") configMaps.set(key, object as ConfigMapContent);
  }
  return { objects, problems, processors, pipelines, configMaps };
}

/** The Pipeline of that name (`NAME` or `NAMESPACE/NAME`); without a name the only one there is. */
export function choosePipeline(workspace: Workspace, name: string | undefined): Located<Pipeline> {
  const refused = workspace.problems.filter(({ severity }) => severity === "Error");
  if (refused.length > 0) throw new CliError(refused.map(formatProblem).join("\n"));
  const keys = [...workspace.pipelines.keys()];
  const wanted = name === undefined ? keys : keys.filter((key) => key === name || key.split("/")[1] === name);
  const [key, ...more] = wanted;
  const pipeline = key === undefined ? undefined : workspace.pipelines.get(key);
  if (pipeline !== undefined && more.length === 0) return pipeline;
  const all = keys.map(shortKey).join(", ") || "none";
  if (pipeline === undefined) {
    const what =
      name === undefined ? "the manifests hold no Pipeline" : `there is no Pipeline "${name}" in the manifests`;
    throw new CliError(`${what}; they hold: ${all}`, exitCodes.usage);
  }
  throw new CliError(`name the Pipeline: the manifests hold ${all}`, exitCodes.usage);
}

function shortKey(key: string): string {
  return key.startsWith(`${defaultNamespace}/`) ? key.slice(defaultNamespace.length + 1) : key;
}

export function namespaceOf({ object }: Located<Pipeline>): string {
  return object.metadata.namespace ?? defaultNamespace;
}

/** The Processors that a Pipeline of this namespace may name, as its check needs them. */
function knownProcessors(workspace: Workspace, namespace: string): ReadonlyMap<string, ProcessorFacts> {
  const here = [...workspace.processors].filter(([key]) => key.startsWith(`${namespace}/`));
  return new Map(
    here.map(([, { object }]) => [object.metadata.name, processorFacts(object.metadata.name, object.spec)]),
  );
}

/** By name. */
function pipelinesIn(workspace: Workspace, namespace: string): ReadonlyMap<string, PipelineSpec> {
  const here = [...workspace.pipelines].filter(([key]) => key.startsWith(`${namespace}/`));
  return new Map(here.map(([, { object }]) => [object.metadata.name, object.spec]));
}

/** As the controller checks it, against the manifests' Processors and Pipelines. */
export async function checkLocated(workspace: Workspace, pipeline: Located<Pipeline>): Promise<PipelineCheck> {
  const { metadata, spec } = pipeline.object;
  const namespace = namespaceOf(pipeline);
  return await checkAmong(
    metadata.name,
    spec,
    knownProcessors(workspace, namespace),
    pipelinesIn(workspace, namespace),
  );
}

/** The same against Processors and Pipelines from wherever, by name. */
export async function checkAmong(
  name: string,
  spec: AnyPipelineSpec,
  processors: ReadonlyMap<string, ProcessorFacts>,
  others: ReadonlyMap<string, PipelineSpec>,
): Promise<PipelineCheck> {
  const known = { resolved: resolveNames(spec, (other) => others.get(other)), processors, others };
  const schemas = usesSchemas(spec, known) ? await schemaCompiler() : undefined;
  return checkPipeline(name, spec, known, schemas);
}

/** ajv takes longer to load than a short run takes: only where there is a schema. */
async function schemaCompiler(): Promise<SchemaCompiler> {
  const { SchemaCompiler: Compiler } = await import("../api/json-schema.ts");
  return new Compiler();
}

/** The engine's problems speak of the spec; these of the file. */
export function locateProblems(pipeline: Located<Pipeline>, problems: readonly Problem[]): LocatedProblem[] {
  return problems.map((problem) => {
    const path = `spec.${problem.path}`;
    return { ...locate(pipeline.source, path), ...problem, path, severity: "Error" };
  });
}

/** In the order of files and lines. */
export function byPlace(a: LocatedProblem, b: LocatedProblem): number {
  return a.file.localeCompare(b.file) || a.line - b.line || a.column - b.column;
}

/** `file:line:column: error: path: message (mend)`: a form that editors make clickable. */
export function formatProblem({ file, line, column, severity, path, message, mend }: LocatedProblem): string {
  const where = path === "" ? "" : `${path}: `;
  const advice = mend === undefined || mend === "" ? "" : ` (${mend})`;
  return printable(`${file}:${line}:${column}: ${severity.toLowerCase()}: ${where}${message}${advice}`);
}

/** The folder that a file or folder given with -f is in: where its plugins and modules are looked for by default. */
export function folderOf(path: string, isFolder: boolean, context: CliContext): string {
  const absolute = resolve(context.cwd, path);
  return isFolder ? absolute : dirname(absolute);
}
