import type { Resource } from "./client.ts";

/** The API group and version of the three kinds. */
export const apiVersion = "millrace.dev/v1alpha1";

const ours = { group: "millrace.dev", version: "v1alpha1", namespaced: true } as const;

export const processors: Resource = { ...ours, plural: "processors", kind: "Processor" };
export const pipelines: Resource = { ...ours, plural: "pipelines", kind: "Pipeline" };
export const executions: Resource = { ...ours, plural: "executions", kind: "Execution" };

const core = { group: "", version: "v1" } as const;

export const configMaps: Resource = { ...core, plural: "configmaps", kind: "ConfigMap", namespaced: true };
export const secrets: Resource = { ...core, plural: "secrets", kind: "Secret", namespaced: true };
export const serviceAccounts: Resource = {
  ...core,
  plural: "serviceaccounts",
  kind: "ServiceAccount",
  namespaced: true,
};
export const namespaces: Resource = { ...core, plural: "namespaces", kind: "Namespace", namespaced: false };

/** events.k8s.io/v1: the same objects as the core group's, with `note`, `regarding` and `series`. */
export const events: Resource = {
  group: "events.k8s.io",
  version: "v1",
  plural: "events",
  kind: "Event",
  namespaced: true,
};

export const leases: Resource = {
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
  kind: "Lease",
  namespaced: true,
};

export const controllerRevisions: Resource = {
  group: "apps",
  version: "v1",
  plural: "controllerrevisions",
  kind: "ControllerRevision",
  namespaced: true,
};

export const tokenReviews: Resource = {
  group: "authentication.k8s.io",
  version: "v1",
  plural: "tokenreviews",
  kind: "TokenReview",
  namespaced: false,
};

export const subjectAccessReviews: Resource = {
  group: "authorization.k8s.io",
  version: "v1",
  plural: "subjectaccessreviews",
  kind: "SubjectAccessReview",
  namespaced: false,
};
