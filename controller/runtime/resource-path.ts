import type {
  CreateOptions,
  DeleteOptions,
  ListOptions,
  ObjectRef,
  Patch,
  Resource,
  Subresource,
  WatchOptions,
} from "../api/client.ts";

/** `/apis/GROUP/VERSION[/namespaces/NS]/PLURAL`; a namespace is left out for kinds that have none. */
function collectionPath(resource: Resource, namespace: string | undefined): string {
  const root = resource.group === "" ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const scope = resource.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${root}${scope}/${resource.plural}`;
}

export function objectPath(resource: Resource, ref: ObjectRef, subresource?: Subresource): string {
  const path = `${collectionPath(resource, ref.namespace)}/${encodeURIComponent(ref.name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}

export function createPath(resource: Resource, options: CreateOptions): string {
  const query = options.dryRun === true ? "?dryRun=All" : "";
  if (options.of === undefined) return `${collectionPath(resource, options.namespace)}${query}`;
  const ref = { name: options.of.name, ...(options.namespace === undefined ? {} : { namespace: options.namespace }) };
  return `${objectPath(resource, ref, options.of.subresource)}${query}`;
}

export function listPath(resource: Resource, options: ListOptions, pageSize: number): string {
  const query = selectors(options);
  query.set("limit", String(options.limit ?? pageSize));
  if (options.continue !== undefined) query.set("continue", options.continue);
  if (options.resourceVersion !== undefined) query.set("resourceVersion", options.resourceVersion);
  return `${collectionPath(resource, options.namespace)}?${query.toString()}`;
}

export function watchPath(resource: Resource, options: WatchOptions): string {
  const query = selectors(options);
  query.set("watch", "true");
  query.set("allowWatchBookmarks", "true");
  query.set("resourceVersion", options.resourceVersion);
  query.set("timeoutSeconds", String(options.timeoutSeconds));
  return `${collectionPath(resource, options.namespace)}?${query.toString()}`;
}

export function patchPath(resource: Resource, ref: ObjectRef, patch: Patch, subresource?: Subresource): string {
  const path = objectPath(resource, ref, subresource);
  if (patch.type !== "Apply") return path;
  const query = new URLSearchParams({ fieldManager: patch.fieldManager, force: String(patch.force) });
  return `${path}?${query.toString()}`;
}

/** The body of a DELETE. */
export function deleteBody(options: DeleteOptions): string {
  const { propagationPolicy, uid, resourceVersion } = options;
  const preconditions = { ...(uid ? { uid } : {}), ...(resourceVersion ? { resourceVersion } : {}) };
  return JSON.stringify({
    apiVersion: "v1",
    kind: "DeleteOptions",
    ...(propagationPolicy ? { propagationPolicy } : {}),
    ...(Object.keys(preconditions).length > 0 ? { preconditions } : {}),
  });
}

/** `pipelines.millrace.dev team/article`, for messages. */
export function described(resource: Resource, namespace: string | undefined, name?: string): string {
  const kind = resource.group === "" ? resource.plural : `${resource.plural}.${resource.group}`;
  if (name === undefined) return namespace === undefined ? kind : `${kind} in namespace ${namespace}`;
  return namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
}

function selectors(options: { readonly labelSelector?: string; readonly fieldSelector?: string }): URLSearchParams {
  const query = new URLSearchParams();
  if (options.labelSelector !== undefined) query.set("labelSelector", options.labelSelector);
  if (options.fieldSelector !== undefined) query.set("fieldSelector", options.fieldSelector);
  return query;
}
