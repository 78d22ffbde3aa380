import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Clock } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import type { Json, JsonObject } from "../../engine/payload.ts";
import { canonicalJson } from "../api/canonical-json.ts";
import { ApiError, type Client, type KubernetesObject } from "../api/client.ts";
import type { SchemaCompiler } from "../api/json-schema.ts";
import { controllerRevisions } from "../api/kinds.ts";
import type { CompiledPipeline, PipelineClosure, Revisions } from "../catalog.ts";
import { compileClosure } from "./check.ts";
import type { StoredClosure } from "./closure.ts";

/** What every revision of ours bears: the sweep looks at nothing else. */
export const revisionLabels = {
  "app.kubernetes.io/managed-by": "millrace",
  "app.kubernetes.io/component": "pipeline-revision",
} as const;

export interface RevisionStoreOptions {
  readonly client: Client;
  readonly clock: Clock;
  readonly schemas: SchemaCompiler;
}

/** Compiled revisions that are kept; beyond them the least used is compiled anew when it is asked for. */
const maxCompiled = 100;

/** 16 hexadecimal digits: among a Pipeline's revisions no two will ever agree by chance. */
const hashDigits = 16;

/** Of an inline spec's Execution, whose name may have 253 characters, as many as the revision's. */
const maxNameLength = 200;

/** The revisions in the API server. See {@link Revisions}. */
export class RevisionStore implements Revisions {
  readonly #options: RevisionStoreOptions;
  readonly #names = new WeakMap<CompiledPipeline, string>();
  readonly #compiled = new LRUCache<string, CompiledPipeline>({ max: maxCompiled });
  /** Those known to exist, with the time of their last use on the monotonic clock. */
  readonly #known = new Map<string, number>();
  readonly #creating = new Map<string, Promise<void>>();

  constructor(options: RevisionStoreOptions) {
    this.#options = options;
  }

  async ensure(namespace: string, pipeline: CompiledPipeline, signal: AbortSignal): Promise<string> {
    const name = this.nameOf(pipeline);
    const key = `${namespace}/${name}`;
    if (!this.#known.has(key)) await this.#createOnce(namespace, name, pipeline.closure);
    signal.throwIfAborted();
    this.#known.set(key, this.#options.clock.monotonic());
    this.#compiled.set(key, pipeline);
    return name;
  }

  async read(namespace: string, name: string, signal: AbortSignal): Promise<CompiledPipeline> {
    const key = `${namespace}/${name}`;
    const known = this.#compiled.get(key);
    if (known !== undefined) return known;
    const object = await this.#get(namespace, name, signal);
    const pipeline = compiled(closureOf(object), `ControllerRevision ${key}`, this.#options.schemas);
    this.#known.set(key, this.#options.clock.monotonic());
    this.#names.set(pipeline, name);
    this.#compiled.set(key, pipeline);
    return pipeline;
  }

  /** The name that the revision of this content has, whether it exists or not. */
  nameOf(pipeline: CompiledPipeline): string {
    const known = this.#names.get(pipeline);
    if (known !== undefined) return known;
    const name = revisionName(pipeline.closure);
    this.#names.set(pipeline, name);
    return name;
  }

  /** How long ago this process last used the revision, in milliseconds; undefined: never. */
  unusedMs(namespace: string, name: string): number | undefined {
    const usedAtMs = this.#known.get(`${namespace}/${name}`);
    return usedAtMs === undefined ? undefined : this.#options.clock.monotonic() - usedAtMs;
  }

  /** The revision was deleted: the next run that needs it makes it anew. */
  forget(namespace: string, name: string): void {
    this.#known.delete(`${namespace}/${name}`);
    this.#compiled.delete(`${namespace}/${name}`);
  }

  /** A thousand Executions that start at once make one request. */
  async #createOnce(namespace: string, name: string, closure: PipelineClosure): Promise<void> {
    const key = `${namespace}/${name}`;
    const creating =
      this.#creating.get(key) ?? this.#create(namespace, name, closure).finally(() => this.#creating.delete(key));
    this.#creating.set(key, creating);
    await creating;
  }

  async #create(namespace: string, name: string, closure: PipelineClosure): Promise<void> {
    const object = revisionObject(namespace, name, closure);
    try {
      // Not with the signal of the run that asked first: others wait for the same request. The client has its timeout.
      await this.#options.client.create(controllerRevisions, object, { namespace }, new AbortController().signal);
    } catch (error) {
      // Content and name go together: whoever made it made the same.
      if (!(error instanceof ApiError && error.status.reason === "AlreadyExists")) throw error;
    }
  }

  async #get(namespace: string, name: string, signal: AbortSignal): Promise<KubernetesObject> {
    try {
      return await this.#options.client.get(controllerRevisions, { namespace, name }, signal);
    } catch (error) {
      if (!(error instanceof ApiError && error.status.code === 404)) throw error;
      const message = `ControllerRevision ${namespace}/${name}, which holds the Pipeline as the Execution started with it, does not exist any more`;
      throw new MillraceError("NotFound", message, { cause: error });
    }
  }
}

/** By its content: the same wherever it is compiled. */
export function revisionName(closure: PipelineClosure): string {
  const content = canonicalJson(closure as unknown as Json);
  const hash = createHash("sha256").update(content).digest("hex").slice(0, hashDigits);
  return `${closure.name.slice(0, maxNameLength)}-${hash}`;
}

export function revisionObject(namespace: string, name: string, closure: PipelineClosure): JsonObject {
  return {
    apiVersion: "apps/v1",
    kind: "ControllerRevision",
    metadata: { name, namespace, labels: revisionLabels },
    data: closure as unknown as JsonObject,
    // Revisions are told apart by their content; the API wants a number.
    revision: 1,
  };
}

function closureOf(object: KubernetesObject): StoredClosure {
  const { labels = {}, namespace, name } = object.metadata;
  const isOurs = Object.entries(revisionLabels).every(([label, value]) => labels[label] === value);
  if (isOurs) return object.data as StoredClosure;
  throw new MillraceError("NotFound", `ControllerRevision ${namespace}/${name} is not one of a Pipeline`);
}

function compiled(closure: StoredClosure, what: string, schemas: SchemaCompiler): CompiledPipeline {
  const check = compileClosure(closure, schemas);
  if (check.ok) return check.pipeline;
  const [first] = check.problems;
  throw new MillraceError("Internal", `${what} does not compile any more: ${first?.path}: ${first?.message}`);
}
