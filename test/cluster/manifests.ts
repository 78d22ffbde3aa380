import type { Cluster } from "./cluster.ts";

/** An object as a test writes it, without apiVersion. */
export interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly [field: string]: unknown;
}

export function processor(name: string, spec: Readonly<Record<string, unknown>>): Manifest {
  return { kind: "Processor", metadata: { name }, spec };
}

export function pipeline(name: string, spec: Readonly<Record<string, unknown>>): Manifest {
  return { kind: "Pipeline", metadata: { name }, spec };
}

/** A namespace of the cluster, through the real kubectl. */
export class Namespace {
  readonly name: string;
  readonly #cluster: Pick<Cluster, "kubectl">;

  constructor(cluster: Pick<Cluster, "kubectl">, name: string) {
    this.#cluster = cluster;
    this.name = name;
  }

  static async create(cluster: Cluster): Promise<Namespace> {
    return new Namespace(cluster, await cluster.createNamespace());
  }

  kubectl(...args: readonly string[]): Promise<string> {
    return this.#cluster.kubectl(["--namespace", this.name, ...args]);
  }

  async apply(...manifests: readonly Manifest[]): Promise<void> {
    const items = manifests.map((manifest) => ({ apiVersion: "millrace.dev/v1alpha1", ...manifest }));
    const list = { apiVersion: "v1", kind: "List", items };
    await this.#cluster.kubectl(["--namespace", this.name, "apply", "-f", "-"], { stdin: JSON.stringify(list) });
  }

  /** `kubectl wait`: `target` is for example `condition=Ready` or a jsonpath. */
  async wait(object: string, target: string): Promise<void> {
    await this.kubectl("wait", object, `--for=${target}`, "--timeout=20s");
  }

  /** Waits until the condition has this reason and status. */
  async waitFor(object: string, type: string, status: string, reason: string): Promise<void> {
    const condition = (field: string) => `{.status.conditions[?(@.type=="${type}")].${field}}`;
    await this.wait(object, `jsonpath=${condition("reason")}=${reason}`);
    await this.wait(object, `jsonpath=${condition("status")}=${status}`);
  }

  async get(object: string): Promise<StoredObject> {
    return JSON.parse(await this.kubectl("get", object, "-o", "json")) as StoredObject;
  }
}

interface StoredCondition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration?: number;
}

export interface StoredObject {
  readonly metadata: { readonly name: string; readonly generation: number; readonly resourceVersion: string };
  readonly status: {
    readonly observedGeneration?: number;
    readonly conditions: readonly StoredCondition[];
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

/** The object's conditions by type. */
export function conditions(object: StoredObject): Readonly<Record<string, StoredCondition>> {
  return Object.fromEntries(object.status.conditions.map((condition) => [condition.type, condition]));
}
