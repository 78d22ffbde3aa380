import type { Json, JsonObject } from "../../engine/payload.ts";

/** A Kubernetes object as it is on the wire: raw JSON, nothing converted, nothing dropped. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly [field: string]: unknown;
}

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly generateName?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
  readonly finalizers?: readonly string[];
}

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** A kind as the API serves it, for example `{group: "millrace.dev", version: "v1alpha1", plural: "pipelines", kind: "Pipeline"}`. The core group is "". */
export interface Resource {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

export type Subresource = "status" | "token";

/** JSON merge patch (RFC 7386), JSON patch (RFC 6902), or server-side apply. */
export type Patch =
  | { readonly type: "Merge"; readonly body: JsonObject }
  | { readonly type: "Json"; readonly body: readonly Json[] }
  | { readonly type: "Apply"; readonly body: JsonObject; readonly fieldManager: string; readonly force: boolean };

export interface ListPage {
  readonly items: readonly KubernetesObject[];
  readonly resourceVersion: string;
  /** Set while there are more pages. */
  readonly continue?: string;
}

export type WatchEvent =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: KubernetesObject }
  | { readonly type: "BOOKMARK"; readonly resourceVersion: string }
  | { readonly type: "ERROR"; readonly status: ApiStatus };

/** What `kind: Status` says. */
export interface ApiStatus {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
  readonly retryAfterMs?: number;
}

/** Any answer of the API server that is not 2xx, or no answer (`code` 0, `reason` "Unreachable"). */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: ApiStatus;

  constructor(status: ApiStatus, options?: { readonly cause?: unknown }) {
    super(status.message, options);
    this.status = status;
  }
}

export interface ObjectRef {
  readonly namespace?: string;
  readonly name: string;
}

/**
 * The narrow port to the Kubernetes API: everything that the controller and the command line ask of it. Raw JSON in and
 * out. Each call throws ApiError. Adapters: over HTTP (`controller/runtime/http-client.ts`), and later a direct call into
 * the embedded API.
 */
export interface Client {
  get(resource: Resource, ref: ObjectRef, signal: AbortSignal): Promise<KubernetesObject>;
  list(resource: Resource, options: ListOptions, signal: AbortSignal): Promise<ListPage>;
  /** Ends when the server ends it; throws ApiError (410 Gone: list again). */
  watch(resource: Resource, options: WatchOptions, signal: AbortSignal): AsyncIterable<WatchEvent>;
  create(
    resource: Resource,
    object: JsonObject,
    options: CreateOptions,
    signal: AbortSignal,
  ): Promise<KubernetesObject>;
  /** PUT: the whole object, conditional on its resourceVersion when it has one. */
  update(
    resource: Resource,
    object: KubernetesObject,
    subresource: Subresource | undefined,
    signal: AbortSignal,
  ): Promise<KubernetesObject>;
  patch(
    resource: Resource,
    ref: ObjectRef,
    patch: Patch,
    subresource: Subresource | undefined,
    signal: AbortSignal,
  ): Promise<KubernetesObject>;
  delete(resource: Resource, ref: ObjectRef, options: DeleteOptions, signal: AbortSignal): Promise<void>;
}

export interface ListOptions {
  /** Absent: all namespaces. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Objects per page; default 500. */
  readonly limit?: number;
  readonly continue?: string;
  readonly resourceVersion?: string;
}

export interface WatchOptions {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly resourceVersion: string;
  /** After how long the server ends the watch. */
  readonly timeoutSeconds: number;
}

export interface CreateOptions {
  readonly namespace?: string;
  /** Everything is checked and answered as if it were created, and nothing is kept. */
  readonly dryRun?: boolean;
  /** For a subresource of a named object, for example `token` of a ServiceAccount. */
  readonly of?: { readonly name: string; readonly subresource: Subresource };
}

export interface DeleteOptions {
  readonly propagationPolicy?: "Background" | "Foreground" | "Orphan";
  /** Delete only this very object. */
  readonly uid?: string;
  readonly resourceVersion?: string;
}
