import type { KubernetesObject } from "../../api/client.ts";

/** The object as `kubectl get -o yaml` shows it: without who wrote which field, in the usual order. */
export function asKubectl({ apiVersion, kind, metadata, ...parts }: KubernetesObject): object {
  const { managedFields: _managedFields, ...shown } = metadata as KubernetesObject["metadata"] & {
    readonly managedFields?: unknown;
  };
  return { apiVersion, kind, metadata: shown, ...parts };
}
