import type { KubernetesObject, ObjectRef } from "../api/client.ts";
import { configMaps } from "../api/kinds.ts";
import type { ObjectKey } from "../runtime/object-key.ts";
import { NamedObjects, type NamedObjectsOptions } from "./named-objects.ts";

export type ConfigMapVersionsOptions = Omit<NamedObjectsOptions, "resource" | "transform">;

/** Which version of a ConfigMap there is. */
export interface ConfigMapVersion {
  /** Its UID and resourceVersion; `absent` where there is none. */
  readonly version: string;
  /** Whether a change of it will be heard of. */
  readonly watched: boolean;
}

/** Tells when a ConfigMap that holds a module changes. Of those that Processors name only the versions are kept. */
export class ConfigMapVersions implements AsyncDisposable {
  readonly #objects: NamedObjects;

  constructor(options: ConfigMapVersionsOptions) {
    this.#objects = new NamedObjects({ ...options, resource: configMaps, transform: withoutContent });
  }

  /** How many ConfigMaps are watched. */
  get size(): number {
    return this.#objects.size;
  }

  /** The version of the ConfigMap that a Processor names now. Throws ApiError, where it has to be asked for. */
  async versionFor(processor: ObjectKey, ref: ObjectRef, signal: AbortSignal): Promise<ConfigMapVersion> {
    this.#objects.name(processor, [ref]);
    const { object, watched } = await this.#objects.read(ref, signal);
    return { version: versionOf(object?.metadata), watched };
  }

  /** The Processor names no ConfigMap any more, or is gone. */
  release(processor: ObjectKey): void {
    this.#objects.name(processor, []);
  }

  /** Idempotent. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#objects[Symbol.asyncDispose]();
  }
}

function versionOf(metadata: { readonly uid?: string; readonly resourceVersion?: string } | undefined): string {
  return metadata === undefined ? "absent" : `${metadata.uid}/${metadata.resourceVersion}`;
}

/** Its content is read when it is loaded, and not kept. */
function withoutContent({ apiVersion, kind, metadata }: KubernetesObject): KubernetesObject {
  const { name, namespace = "", uid = "", resourceVersion = "" } = metadata;
  return { apiVersion, kind, metadata: { name, namespace, uid, resourceVersion } };
}
