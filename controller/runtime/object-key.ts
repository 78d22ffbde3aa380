import type { KubernetesObject, ObjectRef } from "../api/client.ts";

/** `namespace/name`; a cluster-scoped object's is `/name`. A string, so that it is its own map key. */
export type ObjectKey = `${string}/${string}`;

/** Works for an object's metadata and for a reference alike. */
export function keyFor(ref: ObjectRef): ObjectKey {
  return `${ref.namespace ?? ""}/${ref.name}`;
}

export function keyOf(object: KubernetesObject): ObjectKey {
  return keyFor(object.metadata);
}

export function refOf(key: ObjectKey): ObjectRef {
  const slash = key.indexOf("/");
  const name = key.slice(slash + 1);
  return slash === 0 ? { name } : { namespace: key.slice(0, slash), name };
}
