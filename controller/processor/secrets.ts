import { Secrets } from "../../backends/secrets.ts";
import { MillraceError } from "../../engine/errors.ts";
import { ApiError, type KubernetesObject, type ObjectRef } from "../api/client.ts";
import { secrets as secretKind } from "../api/kinds.ts";
import { keyFor, type ObjectKey } from "../runtime/object-key.ts";
import { NamedObjects, type NamedObjectsOptions } from "./named-objects.ts";
import { bounded, type Refusal } from "./refusal.ts";
import type { NamedSecret, SourceSecret } from "./secret-refs.ts";
import { secretValue } from "./secret-value.ts";

/** A Secret as it was last heard of; `object` is absent where there is none. */
interface Known {
  readonly object?: KubernetesObject;
}

/** What was made of the Secrets as they were then. */
interface Made {
  readonly from: readonly (KubernetesObject | undefined)[];
  readonly result: Secrets | MillraceError;
}

/**
 * The Secrets that Processors name, and nothing of others. They are kept current as ConfigMaps are: watched by name, or asked
 * for once a minute, so that a changed value is what the next attempt gets. Values are in memory alone.
 */
export class ProcessorSecrets implements AsyncDisposable {
  readonly #objects: NamedObjects;
  /** By Processor: what had to be asked for. */
  readonly #asked = new Map<ObjectKey, ReadonlyMap<ObjectKey, Known>>();
  readonly #made = new WeakMap<readonly NamedSecret[], Made>();

  constructor(options: Omit<NamedObjectsOptions, "resource" | "transform">) {
    this.#objects = new NamedObjects({ ...options, resource: secretKind, transform: withoutMetadata });
  }

  /**
   * Keeps these Secrets current, and no others of this Processor; resolves when all are known. False: some are
   * not watched, and are to be followed anew. Throws ApiError.
   */
  async follow(processor: ObjectKey, names: readonly string[], signal: AbortSignal): Promise<boolean> {
    const namespace = processor.slice(0, processor.indexOf("/"));
    const objects = [...new Set(names)].map((name) => ({ namespace, name }));
    this.#objects.name(processor, objects);
    const asked = new Map<ObjectKey, Known>();
    await Promise.all(
      objects.map(async (ref) => {
        const { watched, ...known } = await this.#read(ref, signal);
        if (!watched) asked.set(keyFor(ref), known);
      }),
    );
    if (asked.size === 0) this.#asked.delete(processor);
    else this.#asked.set(processor, asked);
    return asked.size === 0;
  }

  /** The Processor is gone. */
  release(processor: ObjectKey): void {
    this.#objects.name(processor, []);
    this.#asked.delete(processor);
  }

  /**
   * The values as they are now; of Secrets that are not followed any more, as they were last. Throws MillraceError Unavailable
   * for a Secret or key that is not there, InvalidInput for a value that cannot be given: the message names it, and has nothing of it.
   */
  current(processor: ObjectKey, refs: readonly NamedSecret[]): Secrets {
    const namespace = processor.slice(0, processor.indexOf("/"));
    const known = refs.map(({ secretKeyRef }) => this.#known(processor, { namespace, name: secretKeyRef.name }));
    const before = this.#made.get(refs);
    const isSame = before?.from.every((object, index) => known[index] === undefined || known[index].object === object);
    const made = before !== undefined && isSame ? before : make(namespace, refs, known);
    this.#made.set(refs, made);
    if (made.result instanceof MillraceError) throw made.result;
    return made.result;
  }

  /** Why the values cannot be had now; undefined: they can. */
  refusal(processor: ObjectKey, refs: readonly NamedSecret[]): Refusal | undefined {
    try {
      this.current(processor, refs);
      return undefined;
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      const reason = error.code === "InvalidInput" ? "InvalidSecret" : "SecretNotFound";
      return { reason, duration: "Permanent", message: bounded(error.message) };
    }
  }

  /** Tells whether any of those that a module is brought with has changed. */
  versions(processor: ObjectKey, refs: readonly SourceSecret[]): string {
    const objects = refs.map(({ name }) => this.#object(processor, name)?.metadata);
    return objects.map((metadata) => (metadata ? `${metadata.uid}/${metadata.resourceVersion}` : "absent")).join(" ");
  }

  /** Why a module cannot be brought; undefined: all that these name is there. */
  sourceRefusal(processor: ObjectKey, refs: readonly SourceSecret[]): Refusal | undefined {
    for (const { name, key, field } of refs) {
      const object = this.#object(processor, name);
      const what = `Secret ${processor.slice(0, processor.indexOf("/"))}/${name}`;
      if (object === undefined) {
        return notFound(`${field}.name: ${what} does not exist. Create it, or name one that exists.`);
      }
      if (key !== undefined && !Object.hasOwn((object.data ?? {}) as object, key)) {
        return notFound(`${field}.key: ${what} has no key ${key}. Add it to the Secret, or name one that it has.`);
      }
    }
    return undefined;
  }

  /** Idempotent. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#asked.clear();
    return this.#objects[Symbol.asyncDispose]();
  }

  async #read(ref: ObjectRef, signal: AbortSignal): ReturnType<NamedObjects["read"]> {
    try {
      return await this.#objects.read(ref, signal);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const message = `Secret ${ref.namespace}/${ref.name} cannot be read: ${error.message}`;
      throw new ApiError({ ...error.status, message }, { cause: error });
    }
  }

  #object(processor: ObjectKey, name: string): KubernetesObject | undefined {
    return this.#known(processor, { namespace: processor.slice(0, processor.indexOf("/")), name })?.object;
  }

  #known(processor: ObjectKey, ref: ObjectRef): Known | undefined {
    return this.#objects.watched(ref) ?? this.#asked.get(processor)?.get(keyFor(ref));
  }
}

function notFound(message: string): Refusal {
  return { reason: "SecretNotFound", duration: "Permanent", message: bounded(message) };
}

function make(namespace: string, refs: readonly NamedSecret[], known: readonly (Known | undefined)[]): Made {
  const from = known.map((one) => one?.object);
  const values: Record<string, string> = {};
  try {
    for (const [index, ref] of refs.entries()) {
      const data = from[index]?.data as Readonly<Record<string, string>> | undefined;
      const secret = from[index] === undefined ? undefined : { data: data ?? {} };
      values[ref.name] = secretValue(ref, `${namespace}/${ref.secretKeyRef.name}`, secret);
    }
    return { from, result: new Secrets(values) };
  } catch (error) {
    if (error instanceof MillraceError) return { from, result: error };
    throw error;
  }
}

/** Labels and annotations are nobody's business here; `last-applied-configuration` has the values once more. */
function withoutMetadata({ apiVersion, kind, metadata, data }: KubernetesObject): KubernetesObject {
  const { name, namespace = "", uid = "", resourceVersion = "" } = metadata;
  return { apiVersion, kind, metadata: { name, namespace, uid, resourceVersion }, data };
}
