import {
  ApiError,
  type Client,
  type CreateOptions,
  type KubernetesObject,
  type ObjectRef,
  type Patch,
  type Resource,
} from "../../../controller/api/client.ts";
import type { Json, JsonObject } from "../../../engine/payload.ts";

/** Called before a request is carried out; what it throws is the answer. */
export type Gate = (verb: string, name: string) => Promise<void> | void;

export const conflict = new ApiError({ code: 409, reason: "Conflict", message: "the object has been modified" });
export const unavailable = new ApiError({ code: 503, reason: "ServiceUnavailable", message: "not now" });

/** One kind's objects with optimistic locking, as an API server has them. No lists and no watches. */
export class MemoryClient implements Client {
  readonly objects = new Map<string, KubernetesObject>();
  readonly calls: string[] = [];
  gate: Gate = () => {};
  /** Called after a request was carried out, before its answer: throwing loses the answer. */
  answerGate: Gate = () => {};
  #version = 0;

  async get(_resource: Resource, ref: ObjectRef): Promise<KubernetesObject> {
    await this.#enter("get", ref.name);
    return this.#known(ref);
  }

  async create(_resource: Resource, object: JsonObject, _options: CreateOptions): Promise<KubernetesObject> {
    const { name } = (object as unknown as KubernetesObject).metadata;
    await this.#enter("create", name);
    if (this.objects.has(name)) throw new ApiError({ code: 409, reason: "AlreadyExists", message: "it exists" });
    const created = this.put(object as unknown as KubernetesObject);
    await this.answerGate("create", name);
    return created;
  }

  async update(_resource: Resource, object: KubernetesObject): Promise<KubernetesObject> {
    const { name, resourceVersion } = object.metadata;
    await this.#enter("update", name);
    const known = this.#known(object.metadata);
    if (known.metadata.resourceVersion !== resourceVersion) throw conflict;
    const updated = this.put(object);
    await this.answerGate("update", name);
    return updated;
  }

  async patch(_resource: Resource, ref: ObjectRef, patch: Patch): Promise<KubernetesObject> {
    await this.#enter("patch", ref.name);
    const known = this.#known(ref);
    if (patch.type !== "Merge") throw new Error("merge patches only");
    const { resourceVersion } = (patch.body.metadata ?? {}) as { resourceVersion?: string };
    if (resourceVersion !== undefined && resourceVersion !== known.metadata.resourceVersion) throw conflict;
    const patched = this.put(merged(known, patch.body) as KubernetesObject);
    await this.answerGate("patch", ref.name);
    return patched;
  }

  async delete(_resource: Resource, ref: ObjectRef): Promise<void> {
    await this.#enter("delete", ref.name);
    this.objects.delete(ref.name);
  }

  list(): never {
    throw new Error("no lists here");
  }

  watch(): never {
    throw new Error("no watches here");
  }

  /** As if somebody else wrote it. */
  put(object: KubernetesObject): KubernetesObject {
    const resourceVersion = String(++this.#version);
    const { name, uid = `uid-${name}` } = object.metadata;
    const stored = structuredClone({ ...object, metadata: { ...object.metadata, uid, resourceVersion } });
    this.objects.set(name, stored);
    return structuredClone(stored);
  }

  #known(ref: ObjectRef): KubernetesObject {
    const known = this.objects.get(ref.name);
    if (!known) throw new ApiError({ code: 404, reason: "NotFound", message: `${ref.name} not found` });
    return structuredClone(known);
  }

  async #enter(verb: string, name: string): Promise<void> {
    this.calls.push(`${verb} ${name}`);
    await this.gate(verb, name);
  }
}

function merged(target: unknown, patch: Json): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const isObject = typeof target === "object" && target !== null && !Array.isArray(target);
  const result: Record<string, unknown> = isObject ? { ...target } : {};
  for (const [key, value] of Object.entries(patch as JsonObject)) {
    if (value === null) delete result[key];
    else result[key] = merged(result[key], value);
  }
  return result;
}
