import { readdir, readFile, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import type { Readable } from "node:stream";
import { checkConfigMap, checkSecret } from "./config-map.ts";
import { isDraftObject } from "./structural-schema.ts";
import { isOurs, validateObject } from "./validation.ts";
import { type Position, parseSource, type SourceProblem, type SourceValue } from "./yaml-source.ts";

/** A Processor, Pipeline, Execution, ConfigMap or Secret from a file. */
export interface LocatedObject {
  /** Plain JSON; of the three kinds with the defaults filled in. */
  readonly object: Readonly<Record<string, unknown>>;
  readonly kind: string;
  readonly name: string;
  /** Absent: whatever namespace it is applied to. */
  readonly namespace?: string;
  /** False when a problem of severity Error is its own. */
  readonly valid: boolean;
  readonly source: SourceValue;
}

export interface LocatedProblem extends SourceProblem {
  /** The field, `spec.steps[2].when`; empty for a file or an object as a whole. */
  readonly path: string;
}

export interface Manifests {
  readonly objects: readonly LocatedObject[];
  /** In the order of files and lines. */
  readonly problems: readonly LocatedProblem[];
}

const extensions = new Set([".yaml", ".yml", ".json"]);
/** An object has at most 1.5 MiB; a file may have several. */
const maxFileBytes = 8 * 1024 * 1024;
const maxFiles = 10_000;
const maxDepth = 32;

/**
 * Reads the objects of files, and of folders and their folders (`*.yaml`, `*.yml`, `*.json`; nothing that begins with a
 * dot; links to files are followed, links to folders are not), and checks each as the API server would. Objects of other
 * kinds are passed over, but for ConfigMaps and Secrets: inputs, modules and secrets come from them. At most 8 MiB a file and 10,000 files.
 * With `stdin`, the path `-` stands for it.
 * What cannot be read is a problem; never throws.
 */
export async function loadManifests(paths: readonly string[], stdin?: Readable): Promise<Manifests> {
  const objects: LocatedObject[] = [];
  const problems: LocatedProblem[] = [];
  const files: string[] = [];
  for (const path of paths) {
    if (path === "-" && stdin !== undefined) files.push(path);
    else await findFiles(path, files, problems);
  }
  for (const file of new Set(files)) {
    await loadFile(file, file === "-" && stdin !== undefined ? readStream(stdin) : readText(file), objects, problems);
  }
  return { objects, problems };
}

/** Where a field of the object stands in its file; of one that is not there, the nearest object around it. */
export function locate(located: LocatedObject, path: string): Position {
  return located.source.position(path);
}

function fileProblem(file: string, message: string): LocatedProblem {
  return { file, line: 1, column: 1, path: "", message, severity: "Error" };
}

async function findFiles(path: string, files: string[], problems: LocatedProblem[]): Promise<void> {
  try {
    const { isFolder } = await describe(path);
    if (isFolder) await findInFolder(path, 0, files, problems);
    else files.push(path);
  } catch (error) {
    problems.push(fileProblem(path, messageOf(error)));
  }
}

async function describe(path: string): Promise<{ readonly isFolder: boolean; readonly isFile: boolean }> {
  const stats = await stat(path);
  return { isFolder: stats.isDirectory(), isFile: stats.isFile() };
}

async function findInFolder(folder: string, depth: number, files: string[], problems: LocatedProblem[]): Promise<void> {
  if (depth > maxDepth) {
    problems.push(fileProblem(folder, `is a folder more than ${maxDepth} folders deep`));
    return;
  }
  const entries = await readdir(folder, { withFileTypes: true });
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.name.startsWith(".")) continue;
    if (entry.isDirectory()) await findInFolder(path, depth + 1, files, problems);
    else if (extensions.has(extname(entry.name)) && (await isReadable(path, problems))) files.push(path);
    if (files.length > maxFiles) throw new Error(`holds more than ${maxFiles} files`);
  }
}

/** Whether it is a file, or a link to one. */
async function isReadable(path: string, problems: LocatedProblem[]): Promise<boolean> {
  try {
    return (await describe(path)).isFile;
  } catch (error) {
    problems.push(fileProblem(path, messageOf(error)));
    return false;
  }
}

async function loadFile(
  file: string,
  content: Promise<string>,
  objects: LocatedObject[],
  problems: LocatedProblem[],
): Promise<void> {
  const text = await content.catch((error: unknown) => {
    problems.push(fileProblem(file, messageOf(error)));
  });
  if (text === undefined) return;
  const source = parseSource(text, file);
  const found: LocatedProblem[] = source.problems.map((problem) => ({ ...problem, path: "" }));
  for (const value of source.values) addValue(value, objects, found);
  problems.push(...found.toSorted((a, b) => a.line - b.line || a.column - b.column));
}

async function readText(file: string): Promise<string> {
  const stats = await stat(file);
  if (!stats.isFile() && !stats.isFIFO() && !stats.isCharacterDevice()) throw new Error("is no file");
  if (stats.size > maxFileBytes) throw new Error(`has ${stats.size} bytes, and a file may have ${maxFileBytes}`);
  const bytes = await readFile(file);
  if (bytes.length > maxFileBytes) throw new Error(`has more than ${maxFileBytes} bytes`);
  return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
}

async function readStream(stream: Readable): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > maxFileBytes) throw new Error(`has more than ${maxFileBytes} bytes`);
    chunks.push(chunk);
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
}

function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.startsWith("ENOENT") ? "there is no such file or folder" : message;
}

const coreChecks: Readonly<Record<string, typeof checkConfigMap | undefined>> = {
  __proto__: null as never,
  ConfigMap: checkConfigMap,
  Secret: checkSecret,
};

function addValue(source: SourceValue, objects: LocatedObject[], problems: LocatedProblem[]): void {
  const { value } = source;
  if (!isDraftObject(value) || typeof value.kind !== "string" || typeof value.apiVersion !== "string") {
    const message = "is no Kubernetes object and was passed over: it needs the texts apiVersion and kind";
    problems.push({ ...source.position(""), path: "", message, severity: "Warning" });
    return;
  }
  if (value.apiVersion === "v1" && value.kind === "List") {
    for (const item of source.items("items")) addValue(item, objects, problems);
    return;
  }
  const check = value.apiVersion === "v1" ? coreChecks[value.kind] : undefined;
  if (check === undefined && !isOurs(value)) return;
  const validation = check === undefined ? validateObject(value) : { object: value, problems: check(value) };
  const located = createLocated(source, validation.object, value.kind, validation.problems.length === 0);
  for (const problem of validation.problems) {
    problems.push({ ...source.position(problem.path), ...problem, severity: "Error" });
  }
  problems.push(...findDuplicate(located, objects));
  objects.push(located);
}

function createLocated(source: SourceValue, object: unknown, kind: string, valid: boolean): LocatedObject {
  const fields = isDraftObject(object) ? object : {};
  const metadata = isDraftObject(fields.metadata) ? fields.metadata : {};
  const name = typeof metadata.name === "string" ? metadata.name : "";
  const named = { object: fields, kind, name, valid, source };
  return typeof metadata.namespace === "string" ? { ...named, namespace: metadata.namespace } : named;
}

/** Two objects of one kind and name: one of them would overwrite the other. */
function findDuplicate(located: LocatedObject, objects: readonly LocatedObject[]): LocatedProblem[] {
  if (located.name === "") return [];
  const other = objects.find(
    ({ kind, name, namespace }) => kind === located.kind && name === located.name && namespace === located.namespace,
  );
  if (other === undefined) return [];
  const { file, line } = other.source.position("metadata.name");
  const message = `${located.kind} ${JSON.stringify(located.name)} is there already, in ${file}:${line}`;
  const mend = "Give one of the two another name, or remove it.";
  const path = "metadata.name";
  return [{ ...located.source.position(path), path, message, mend, severity: "Error" }];
}
