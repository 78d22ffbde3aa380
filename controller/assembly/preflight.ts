import { ApiError, type Client, type Resource } from "../api/client.ts";
import { executions, pipelines, processors } from "../api/kinds.ts";

/** The cluster is not such that the controller can work in it; the message says what is missing and how it is put right. */
export class PreflightError extends Error {
  override readonly name = "PreflightError";
}

/** Something that the controller must be allowed to do. */
interface Right {
  readonly verbs: readonly string[];
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  /** Default Work: in each namespace that is worked in. Lease: in that of the Lease. Cluster: for objects without a namespace. */
  readonly scope?: "Work" | "Lease" | "Cluster";
}

const rights: readonly Right[] = [
  ...["processors", "pipelines", "executions"].flatMap((resource) => [
    { verbs: ["get", "list", "watch"], group: "millrace.dev", resource },
    { verbs: ["patch", "update"], group: "millrace.dev", resource, subresource: "status" },
  ]),
  { verbs: ["delete"], group: "millrace.dev", resource: "executions" },
  { verbs: ["get", "list", "watch"], group: "", resource: "configmaps" },
  { verbs: ["create", "patch"], group: "", resource: "events" },
  { verbs: ["get", "list", "create", "delete"], group: "apps", resource: "controllerrevisions" },
  { verbs: ["get", "create", "update"], group: "coordination.k8s.io", resource: "leases", scope: "Lease" },
  { verbs: ["get"], group: "", resource: "namespaces", scope: "Cluster" },
  { verbs: ["create"], group: "authentication.k8s.io", resource: "tokenreviews", scope: "Cluster" },
  { verbs: ["create"], group: "authorization.k8s.io", resource: "subjectaccessreviews", scope: "Cluster" },
];

const selfSubjectAccessReviews: Resource = {
  group: "authorization.k8s.io",
  version: "v1",
  plural: "selfsubjectaccessreviews",
  kind: "SelfSubjectAccessReview",
  namespaced: false,
};

export interface PreflightOptions {
  readonly client: Client;
  /** Empty: all. */
  readonly namespaces: readonly string[];
  /** Where the Lease is; absent: none is needed. */
  readonly leaseNamespace?: string;
}

/** Checks that the three kinds are installed and that the controller may do all that it has to. Throws PreflightError. */
export async function preflight(options: PreflightOptions, signal: AbortSignal): Promise<void> {
  await Promise.all([processors, pipelines, executions].map((kind) => checkKind(options, kind, signal)));
  const lacking = (await Promise.all(wanted(options).map((one) => isLacking(options.client, one, signal)))).flat();
  if (lacking.length === 0) return;
  throw new PreflightError(
    `the cluster does not let this controller ${lacking.join("; ")}. Grant it these rights: manifests/base/rbac.yaml of millrace has them all`,
  );
}

/** An object that is not there, of a kind that is: the server names it in its answer. No list, which is dear where there are many. */
const absentName = "millrace-preflight";

async function checkKind(options: PreflightOptions, kind: Resource, signal: AbortSignal): Promise<void> {
  const [namespace = "default"] = options.namespaces;
  try {
    await options.client.get(kind, { namespace, name: absentName }, signal);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const { code, message } = error.status;
    const isKnown = code === 404 && message.includes(`"${absentName}" not found`);
    // Whoever may not read is told so with all other rights.
    if (isKnown || code === 403) return;
    throw new PreflightError(kindProblem(kind, error), { cause: error });
  }
}

function kindProblem(kind: Resource, { status, message }: ApiError): string {
  if (status.code === 404) {
    return `the cluster does not know the kind ${kind.kind} (${kind.plural}.${kind.group}); install the CustomResourceDefinitions with: kubectl apply --server-side -f crds`;
  }
  if (status.code === 401) return `the cluster does not accept these credentials: ${message}`;
  return `the API server cannot be used: ${message}`;
}

interface Wanted extends Right {
  readonly namespace?: string;
}

function wanted({ namespaces, leaseNamespace }: PreflightOptions): readonly Wanted[] {
  return rights.flatMap((right): readonly Wanted[] => {
    if (right.scope === "Cluster") return [right];
    if (right.scope === "Lease") return leaseNamespace === undefined ? [] : [{ ...right, namespace: leaseNamespace }];
    return namespaces.length === 0 ? [right] : namespaces.map((namespace) => ({ ...right, namespace }));
  });
}

/** One line for each verb that is not allowed, as `list processors.millrace.dev in namespace team`. */
async function isLacking(client: Client, right: Wanted, signal: AbortSignal): Promise<readonly string[]> {
  const answers = await Promise.all(right.verbs.map((verb) => isAllowed(client, right, verb, signal)));
  const verbs = right.verbs.filter((_, index) => answers[index] === false);
  if (verbs.length === 0) return [];
  const name = `${right.resource}${right.group === "" ? "" : `.${right.group}`}`;
  const part = right.subresource === undefined ? "" : `/${right.subresource}`;
  const where = right.namespace === undefined ? "" : ` in namespace ${right.namespace}`;
  return [`${verbs.join(", ")} ${name}${part}${where}`];
}

async function isAllowed(client: Client, right: Wanted, verb: string, signal: AbortSignal): Promise<boolean> {
  const { group, resource, subresource, namespace } = right;
  const resourceAttributes = {
    verb,
    group,
    resource,
    ...(subresource === undefined ? {} : { subresource }),
    ...(namespace === undefined ? {} : { namespace }),
  };
  const { version, kind } = selfSubjectAccessReviews;
  const apiVersion = `${selfSubjectAccessReviews.group}/${version}`;
  const body = { apiVersion, kind, metadata: {}, spec: { resourceAttributes } };
  const review = await client.create(selfSubjectAccessReviews, body, {}, signal);
  return (review.status as { readonly allowed?: boolean } | undefined)?.allowed === true;
}
