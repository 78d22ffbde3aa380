import { expect } from "chai";
import {
  ApiError,
  type Client,
  type DeleteOptions,
  type KubernetesObject,
  type ListOptions,
  type ListPage,
  type ObjectRef,
  type Patch,
  type Resource,
  type Subresource,
  type WatchEvent,
} from "../../../controller/api/client.ts";
import type { Execution, ExecutionCounts, ExecutionSpec, ExecutionStatus } from "../../../controller/api/types.ts";
import { timestamp } from "../../../controller/runtime/conditions.ts";
import type { Json, JsonObject } from "../../../engine/payload.ts";

type Verb = "get" | "update" | "patch" | "delete";

/** What befalls one call: before it is done, or after it is done and before its answer arrives. */
export type Fault = { readonly when: "Before" | "After"; readonly error: ApiError };

export const unreachable = (): ApiError => new ApiError({ code: 0, reason: "Unreachable", message: "reset" });
export const busy = (): ApiError => new ApiError({ code: 503, reason: "ServiceUnavailable", message: "busy" });
const notFound = (): ApiError => new ApiError({ code: 404, reason: "NotFound", message: "not found" });
const conflict = (): ApiError => new ApiError({ code: 409, reason: "Conflict", message: "modified" });

/** The little of an API server that Executions need: versions, conflicts, `/status` apart from the rest, faults on demand. */
export class FakeApi implements Client {
  readonly objects = new Map<string, KubernetesObject>();
  /** Every status that was accepted, in order. */
  readonly statuses: ExecutionStatus[] = [];
  readonly deleted: string[] = [];
  writes = 0;
  /** Asked before each call. */
  fault: (verb: Verb, name: string) => Fault | undefined = () => undefined;
  /** Told of each change, as a watch would. */
  onChange: (name: string) => void = () => {};
  /** Runs inside of each call before it is answered: a turn of the event loop, at least. */
  delay: () => Promise<void> = () => Promise.resolve();
  /** Of what is created. */
  now: () => number = () => 0;
  /** Writes of Pipelines' numbers, in order. */
  readonly counts: { readonly pipeline: string; readonly counts: ExecutionCounts }[] = [];
  #version = 100;

  create(): Promise<KubernetesObject> {
    throw new Error("nothing is created here");
  }

  list(_resource: Resource, _options: ListOptions): Promise<ListPage> {
    throw new Error("nothing is listed here");
  }

  watch(): AsyncIterable<WatchEvent> {
    throw new Error("nothing is watched here");
  }

  get(resource: Resource, ref: ObjectRef): Promise<KubernetesObject> {
    return this.#call("get", ref.name, () => {
      if (resource.plural === "namespaces") return namespaceObject(ref.name);
      return this.#existing(`${resource.plural}/${ref.name}`);
    });
  }

  update(resource: Resource, object: KubernetesObject, subresource: Subresource | undefined) {
    return this.#call("update", object.metadata.name, () => {
      const id = `${resource.plural}/${object.metadata.name}`;
      const current = this.#existing(id);
      if (subresource !== "status") throw new Error("only statuses are updated here");
      const { uid, resourceVersion } = object.metadata;
      if (uid !== current.metadata.uid || resourceVersion !== current.metadata.resourceVersion) throw conflict();
      this.writes++;
      this.statuses.push(structuredClone(object.status) as ExecutionStatus);
      return this.#set(id, { ...current, status: structuredClone(object.status) });
    });
  }

  patch(resource: Resource, ref: ObjectRef, patch: Patch) {
    return this.#call("patch", ref.name, () => {
      if (resource.plural === "pipelines") return this.#patchPipeline(ref, patch);
      const id = `${resource.plural}/${ref.name}`;
      const current = this.#existing(id);
      const body = patch.body as { metadata?: { resourceVersion?: string }; status: JsonObject };
      const version = body.metadata?.resourceVersion;
      if (version !== undefined && version !== current.metadata.resourceVersion) throw conflict();
      this.writes++;
      const status = merged(current.status as JsonObject, body.status);
      this.statuses.push(structuredClone(status) as ExecutionStatus);
      return this.#set(id, { ...current, status });
    });
  }

  delete(resource: Resource, ref: ObjectRef, options: DeleteOptions): Promise<void> {
    return this.#call("delete", ref.name, () => {
      const current = this.#existing(`${resource.plural}/${ref.name}`);
      const version = options.resourceVersion;
      if (version !== undefined && version !== current.metadata.resourceVersion) throw conflict();
      this.remove(ref.name);
    });
  }

  /** As kubectl would. */
  put(name: string, spec: Partial<ExecutionSpec>, status?: ExecutionStatus, namespace = "team"): Execution {
    const creationTimestamp = timestamp(this.now());
    const metadata = { name, namespace, uid: `uid-${name}-${this.#version}`, generation: 1, creationTimestamp };
    const object = {
      apiVersion: "millrace.dev/v1alpha1",
      kind: "Execution",
      metadata,
      spec: { priority: 0, suspend: false, cancel: "None", ...spec },
    };
    return this.#set(`executions/${name}`, { ...object, status: status ?? pendingStatus }) as Execution;
  }

  configMap(name: string, data: Readonly<Record<string, string>>): void {
    const metadata = { name, namespace: "team" };
    this.objects.set(`configmaps/${name}`, { apiVersion: "v1", kind: "ConfigMap", metadata, data });
  }

  /** An edit of the spec: a new generation. */
  edit(name: string, spec: Partial<ExecutionSpec>): void {
    const current = this.execution(name);
    const metadata = { ...current.metadata, generation: (current.metadata.generation ?? 1) + 1 };
    this.#set(`executions/${name}`, { ...current, metadata, spec: { ...current.spec, ...spec } });
  }

  label(name: string): void {
    this.#set(`executions/${name}`, this.execution(name));
  }

  /** Somebody else's write to the status. */
  overwrite(name: string, status: ExecutionStatus): void {
    this.#set(`executions/${name}`, { ...this.execution(name), status });
  }

  remove(name: string): void {
    this.objects.delete(`executions/${name}`);
    this.deleted.push(name);
    this.onChange(name);
  }

  execution(name: string): Execution {
    return this.#existing(`executions/${name}`) as Execution;
  }

  executions(): readonly Execution[] {
    return [...this.objects.values()].filter(({ kind }) => kind === "Execution") as Execution[];
  }

  /** As a Pipeline's status has it. */
  countsOf(pipeline: string): { readonly counts?: ExecutionCounts } {
    const last = this.counts.findLast((write) => write.pipeline === pipeline);
    return last === undefined ? {} : { counts: last.counts };
  }

  #patchPipeline({ namespace = "", name }: ObjectRef, patch: Patch): KubernetesObject {
    const { status } = patch.body as unknown as { readonly status: { readonly executions: ExecutionCounts } };
    expect(Object.keys(status), "nothing else of a Pipeline is written").to.deep.equal(["executions"]);
    this.counts.push({ pipeline: `${namespace}/${name}`, counts: status.executions });
    return { apiVersion: "millrace.dev/v1alpha1", kind: "Pipeline", metadata: { name, namespace } };
  }

  async #call<T>(verb: Verb, name: string, act: () => T): Promise<T> {
    const fault = this.fault(verb, name);
    await this.delay();
    if (fault?.when === "Before") throw fault.error;
    const result = act();
    await this.delay();
    if (fault?.when === "After") throw fault.error;
    return structuredClone(result);
  }

  #existing(id: string): KubernetesObject {
    const object = this.objects.get(id);
    if (object === undefined) throw notFound();
    return object;
  }

  #set(id: string, object: KubernetesObject): KubernetesObject {
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } };
    this.objects.set(id, stored);
    this.onChange(object.metadata.name);
    return stored;
  }
}

/** The CRD's default. */
export const pendingStatus: ExecutionStatus = {
  phase: "Pending",
  conditions: (["Ready", "Succeeded", "Reconciling"] as const).map((type) => ({
    type,
    status: type === "Reconciling" ? "True" : "Unknown",
    reason: "Pending",
    message: "Waiting for the controller",
    lastTransitionTime: "1970-01-01T00:00:00Z",
  })),
};

/** RFC 7386. */
function merged(target: Json | undefined, patch: JsonObject): JsonObject {
  const result: Record<string, Json> = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = isObject(value) ? merged(result[name], value) : value;
  }
  return result;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function namespaceObject(name: string): KubernetesObject {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, uid: "11111111-2222-3333-4444-555555555555" } };
}
