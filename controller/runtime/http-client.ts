import { type Ports, sleep } from "../../engine/clock.ts";
import type { JsonObject } from "../../engine/payload.ts";
import {
  ApiError,
  type Client,
  type CreateOptions,
  type DeleteOptions,
  type KubernetesObject,
  type ListOptions,
  type ListPage,
  type ObjectRef,
  type Patch,
  type Resource,
  type Subresource,
  type WatchEvent,
  type WatchOptions,
} from "../api/client.ts";
import { errorFromResponse, isTransient, unreachable } from "./api-errors.ts";
import { type BackoffPolicy, backoffMs } from "./backoff.ts";
import { type Deadline, deadline } from "./deadline.ts";
import { createPath, deleteBody, described, listPath, objectPath, patchPath, watchPath } from "./resource-path.ts";
import type { Transport, TransportRequest, TransportResponse } from "./transport.ts";
import { linesOf } from "./watch-lines.ts";
import { decodeWatchLine, rawList, rawObject } from "./wire.ts";

export type ApiVerb = "get" | "list" | "watch" | "create" | "update" | "patch" | "delete";

/** One answered (or unanswered: code 0) request, retries counted apart. */
export interface ApiCall {
  readonly verb: ApiVerb;
  readonly resource: Resource;
  readonly subresource: Subresource | undefined;
  /** The HTTP status; 0 when there was no answer. */
  readonly code: number;
  readonly durationMs: number;
}

export interface HttpClientOptions {
  /** An `HttpTransport`, or a direct call into an API server in this process. */
  readonly transport: Transport;
  readonly ports: Ports;
  /** Of Millrace: the User-Agent is `millrace/<version>`, from which the API server takes the field manager `millrace`. */
  readonly version: string;
  /** Told of each request; must not throw. */
  readonly onCall?: (call: ApiCall) => void;
  /** For an answer to one request, and for a watch's headers; in milliseconds, default 30,000. */
  readonly requestTimeoutMs?: number;
}

const defaultRequestTimeoutMs = 30_000;

/** How long after its own timeout a watch that the server has not ended is ended from here. */
const watchGraceMs = 30_000;

const pageSize = 500;

/** Tries of one request, the first included. */
const maxTries = 6;

const retryPolicy: BackoffPolicy = { initialMs: 100, factor: 2, maxMs: 5_000, jitter: 0.5 };

const contentTypes = {
  Merge: "application/merge-patch+json",
  Json: "application/json-patch+json",
  Apply: "application/apply-patch+yaml",
} as const satisfies Record<Patch["type"], string>;

interface Call {
  readonly verb: ApiVerb;
  readonly resource: Resource;
  readonly subresource?: Subresource | undefined;
  /** `update pipelines.millrace.dev team/article`, for messages. */
  readonly what: string;
  readonly request: TransportRequest;
}

/**
 * The Kubernetes API over a {@link Transport}. Reads are retried on no answer, 429 and 5xx; writes only on 429, which the
 * server answers before it does anything. Both wait for Retry-After, with jitter, at most six tries.
 * Throws ApiError, or the signal's reason.
 */
export function createHttpClient(options: HttpClientOptions): Client {
  return new HttpClient(options);
}

class HttpClient implements Client {
  readonly #transport: Transport;
  readonly #ports: Ports;
  readonly #onCall: (call: ApiCall) => void;
  readonly #timeoutMs: number;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(options: HttpClientOptions) {
    this.#transport = options.transport;
    this.#ports = options.ports;
    this.#onCall = options.onCall ?? (() => {});
    this.#timeoutMs = options.requestTimeoutMs ?? defaultRequestTimeoutMs;
    this.#headers = { accept: "application/json", "user-agent": `millrace/${options.version}` };
  }

  async get(resource: Resource, ref: ObjectRef, signal: AbortSignal): Promise<KubernetesObject> {
    const request = this.#request("GET", objectPath(resource, ref));
    const what = `get ${described(resource, ref.namespace, ref.name)}`;
    return rawObject(await this.#exchange({ verb: "get", resource, what, request }, signal));
  }

  async list(resource: Resource, options: ListOptions, signal: AbortSignal): Promise<ListPage> {
    const request = this.#request("GET", listPath(resource, options, pageSize));
    const what = `list ${described(resource, options.namespace)}`;
    return rawList(resource, await this.#exchange({ verb: "list", resource, what, request }, signal));
  }

  async create(
    resource: Resource,
    object: JsonObject,
    options: CreateOptions,
    signal: AbortSignal,
  ): Promise<KubernetesObject> {
    const body = JSON.stringify(object);
    const request = this.#request("POST", createPath(resource, options), body, "application/json");
    const subresource = options.of?.subresource;
    const what = `create ${described(resource, options.namespace, options.of?.name ?? nameOf(object))}`;
    return rawObject(await this.#exchange({ verb: "create", resource, subresource, what, request }, signal));
  }

  async update(
    resource: Resource,
    object: KubernetesObject,
    subresource: Subresource | undefined,
    signal: AbortSignal,
  ): Promise<KubernetesObject> {
    const path = objectPath(resource, object.metadata, subresource);
    const request = this.#request("PUT", path, JSON.stringify(object), "application/json");
    const what = `update ${described(resource, object.metadata.namespace, object.metadata.name)}`;
    return rawObject(await this.#exchange({ verb: "update", resource, subresource, what, request }, signal));
  }

  async patch(
    resource: Resource,
    ref: ObjectRef,
    patch: Patch,
    subresource: Subresource | undefined,
    signal: AbortSignal,
  ): Promise<KubernetesObject> {
    const path = patchPath(resource, ref, patch, subresource);
    const request = this.#request("PATCH", path, JSON.stringify(patch.body), contentTypes[patch.type]);
    const what = `patch ${described(resource, ref.namespace, ref.name)}`;
    return rawObject(await this.#exchange({ verb: "patch", resource, subresource, what, request }, signal));
  }

  async delete(resource: Resource, ref: ObjectRef, options: DeleteOptions, signal: AbortSignal): Promise<void> {
    const request = this.#request("DELETE", objectPath(resource, ref), deleteBody(options), "application/json");
    const what = `delete ${described(resource, ref.namespace, ref.name)}`;
    await this.#exchange({ verb: "delete", resource, what, request }, signal);
  }

  async *watch(resource: Resource, options: WatchOptions, signal: AbortSignal): AsyncGenerator<WatchEvent> {
    const request = this.#request("GET", watchPath(resource, options));
    const what = `watch ${described(resource, options.namespace)}`;
    const limit = this.#limit(signal);
    let response: TransportResponse | undefined;
    try {
      response = await this.#open({ verb: "watch", resource, what, request }, limit.signal);
      limit.restart(options.timeoutSeconds * 1000 + watchGraceMs, `outlived its ${options.timeoutSeconds} s`);
      for await (const line of linesOf(response.chunks())) yield decodeWatchLine(line);
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof ApiError ? error : unreachable(what, this.#transport.server, error);
    } finally {
      limit.release();
      response?.discard();
    }
  }

  #request(method: TransportRequest["method"], path: string, body?: string, contentType?: string): TransportRequest {
    if (body === undefined || contentType === undefined) return { method, path, headers: this.#headers };
    return { method, path, headers: { ...this.#headers, "content-type": contentType }, body };
  }

  async #exchange(call: Call, signal: AbortSignal): Promise<string> {
    for (let retry = 0; ; retry++) {
      try {
        return await this.#attempt(call, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (retry + 1 >= maxTries || !isRetried(call, error)) throw error;
        const { retryAfterMs } = (error as ApiError).status;
        await sleep(backoffMs(retryPolicy, retry, this.#ports.random, retryAfterMs), this.#ports.scheduler, signal);
      }
    }
  }

  /** One request and its whole body, within one timeout. */
  async #attempt(call: Call, signal: AbortSignal): Promise<string> {
    const limit = this.#limit(signal);
    try {
      const response = await this.#open(call, limit.signal);
      return await response.text();
    } catch (error) {
      throw error instanceof ApiError ? error : unreachable(call.what, this.#transport.server, error);
    } finally {
      limit.release();
    }
  }

  /** The headers of a 2xx answer, or an ApiError. */
  async #open(call: Call, signal: AbortSignal): Promise<TransportResponse> {
    const startedMs = this.#ports.clock.monotonic();
    let code = 0;
    try {
      const response = await this.#transport.send(call.request, signal);
      code = response.status;
      if (code >= 200 && code < 300) return response;
      throw await errorFromResponse(call.what, response, this.#ports.clock.now());
    } finally {
      const { verb, resource, subresource } = call;
      this.#onCall({ verb, resource, subresource, code, durationMs: this.#ports.clock.monotonic() - startedMs });
    }
  }

  #limit(signal: AbortSignal): Deadline {
    return deadline(this.#timeoutMs, `no answer within ${this.#timeoutMs} ms`, this.#ports.scheduler, signal);
  }
}

/** A write that got no answer may have been done; only 429 says that it was not. */
function isRetried(call: Call, error: unknown): boolean {
  if (call.verb === "get" || call.verb === "list") return isTransient(error) && !isUnauthorized(error);
  return error instanceof ApiError && error.status.code === 429;
}

function isUnauthorized(error: unknown): boolean {
  return error instanceof ApiError && error.status.code === 401;
}

function nameOf(object: JsonObject): string | undefined {
  const metadata = object.metadata as { name?: string; generateName?: string } | undefined;
  return metadata?.name ?? metadata?.generateName;
}
