import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";
import type { Ports } from "../../engine/clock.ts";
import { MillraceError, toMillraceError } from "../../engine/errors.ts";
import { binaryType } from "../../engine/payload.ts";
import { ApiError, type Client } from "../api/client.ts";
import type { Logger } from "../runtime/logger.ts";
import { PayloadAccess } from "./access.ts";
import { isLoopback, urlOf } from "./addresses.ts";
import { isDigest } from "./digest.ts";
import type { NamespaceUids } from "./namespaces.ts";
import type { PayloadStore } from "./store.ts";

export interface PayloadEndpointOptions {
  readonly client: Client;
  readonly store: PayloadStore;
  readonly namespaces: NamespaceUids;
  readonly ports: Ports;
  readonly logger: Logger;
  /** Where to listen. Without `tls` only a loopback address: tokens travel over this connection. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** PEM. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** Where a controller says under which URL its payload endpoint is: an annotation of its Lease; empty when nobody else can reach it. */
export const payloadEndpointAnnotation = "millrace.dev/payload-endpoint";

/** Serves `GET` and `HEAD /v1/namespaces/NS/payloads/DIGEST[?contentType=TYPE]`. */
export interface PayloadEndpoint extends AsyncDisposable {
  /** Where it listens: `https://host:port` or `http://…`, without a path. */
  readonly url: string;
}

const pathPattern = /^\/v1\/namespaces\/([a-z0-9][a-z0-9-]{0,62})\/payloads\/([^/]+)$/;
const contentTypePattern = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(?:\s*;\s*[\w!#$&^.+-]+=(?:[\w!#$&^.+-]+|"[\w !#$&^.+-]*"))*$/;

/** Starts to listen. Throws MillraceError InvalidInput for an address other than loopback without TLS, Unavailable when the address is taken. */
export async function servePayloads(options: PayloadEndpointOptions): Promise<PayloadEndpoint> {
  const { host, tls } = options;
  if (tls === undefined && !isLoopback(host)) {
    const why = "without TLS the bearer tokens of those who ask would travel in the clear";
    const mend = "give a certificate and its key, or listen on 127.0.0.1";
    throw new MillraceError("InvalidInput", `the payload endpoint does not listen on ${host}: ${why}; ${mend}`);
  }
  const handler = new PayloadHandler(options);
  const listener = (request: IncomingMessage, response: ServerResponse) => void handler.handle(request, response);
  const server = tls === undefined ? createServer(listener) : createTlsServer({ ...tls }, listener);
  const port = await listening(server, host, options.port);
  // A connection that cannot be accepted, for want of file descriptors, say, is not the end of the process.
  server.on("error", (error) =>
    options.logger.warn({ err: error }, "the payload endpoint could not take a connection"),
  );
  return {
    url: urlOf(tls === undefined ? "http" : "https", host, port),
    [Symbol.asyncDispose]: () => closed(server),
  };
}

function listening(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const onError = (cause: unknown) => {
      const mend = "choose another port, or 0 for any free one";
      reject(
        new MillraceError("Unavailable", `the payload endpoint cannot listen on ${host}:${port}; ${mend}`, { cause }),
      );
    };
    server.once("error", onError);
    server.listen(port, host, () => {
      server.off("error", onError);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

/** A refusal, as the API server would put it. */
class Refusal extends Error {
  readonly code: number;
  readonly reason: string;

  constructor(code: number, reason: string, message: string) {
    super(message);
    this.code = code;
    this.reason = reason;
  }
}

class PayloadHandler {
  readonly #options: PayloadEndpointOptions;
  readonly #access: PayloadAccess;

  constructor(options: PayloadEndpointOptions) {
    this.#options = options;
    this.#access = new PayloadAccess(options.client, options.ports.clock);
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    try {
      await this.#serve(request, response, gone.signal);
    } catch (error) {
      refuse(response, refusalOf(error));
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    if (request.method !== "GET" && request.method !== "HEAD") {
      throw new Refusal(405, "MethodNotAllowed", "a payload is read by GET or HEAD");
    }
    const { namespace, digest, contentType } = parse(request.url ?? "/");
    await this.#authorize(request, namespace, signal);
    if (!isDigest(digest))
      throw new Refusal(404, "NotFound", `"${digest}" is not a digest: "sha256:" and 64 hex digits`);
    const uid = await this.#options.namespaces.uidOf(namespace, signal);
    const bytes = await this.#options.store.stat(uid, digest, signal);
    if (bytes === undefined) {
      throw new Refusal(404, "NotFound", `namespace ${namespace} has no payload ${digest}; it may have been swept`);
    }
    const head = { "content-type": contentType, "content-length": bytes, "x-content-type-options": "nosniff" };
    if (request.method === "HEAD") {
      response.writeHead(200, head).end();
      return;
    }
    const chunks = this.#options.store.open(uid, { digest, bytes, contentType }).stream(signal);
    await send(response, head, chunks);
  }

  async #authorize(request: IncomingMessage, namespace: string, signal: AbortSignal): Promise<void> {
    const token = /^Bearer\s+(\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
    const access = token === undefined ? undefined : await this.#access.check(token, namespace, signal);
    if (access?.kind === "Busy") {
      throw new Refusal(429, "TooManyRequests", "too many tokens are being asked about; try again in a second");
    }
    if (access === undefined || access.kind === "Unauthenticated") {
      throw new Refusal(401, "Unauthorized", "a bearer token that the cluster knows is needed");
    }
    if (access.kind === "Allowed") return;
    const what = `${access.user} may not "get" the resource "executions/payload" of millrace.dev in namespace ${namespace}`;
    const mend = "a Role with that rule, bound to this user, allows it";
    throw new Refusal(403, "Forbidden", `${what}${access.reason === "" ? "" : ` (${access.reason})`}; ${mend}`);
  }
}

interface Wanted {
  readonly namespace: string;
  readonly digest: string;
  readonly contentType: string;
}

function parse(target: string): Wanted {
  const url = URL.parse(target, "http://payloads");
  if (url === null) throw new Refusal(400, "BadRequest", "the request's target is not a path");
  const { pathname, searchParams } = url;
  const [, namespace, digest] = pathPattern.exec(pathname) ?? [];
  if (namespace === undefined || digest === undefined) {
    throw new Refusal(404, "NotFound", "there is nothing here but /v1/namespaces/NAMESPACE/payloads/DIGEST");
  }
  const contentType = searchParams.get("contentType") ?? binaryType;
  if (!contentTypePattern.test(contentType)) {
    throw new Refusal(400, "BadRequest", "contentType is not a media type, for example application/json");
  }
  return { namespace, digest: decodeURIComponent(digest), contentType };
}

/** The first chunk is verified before the head is sent, so that a small corrupt payload is an error and not a broken body. */
async function send(
  response: ServerResponse,
  head: Readonly<Record<string, string | number>>,
  chunks: ReadableStream<Uint8Array>,
): Promise<void> {
  const reader = chunks.getReader();
  const first = await reader.read();
  reader.releaseLock();
  response.writeHead(200, head);
  if (first.value !== undefined) response.write(first.value);
  // A body that turns out corrupt later ends short of its content-length: whoever reads it sees that it broke off.
  await pipeline(chunks, response);
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof URIError) return new Refusal(404, "NotFound", "the digest is not decodable");
  if (error instanceof ApiError) return apiRefusal(error);
  return storeRefusal(toMillraceError(error));
}

function apiRefusal({ status, message }: ApiError): Refusal {
  if (status.code === 404) return new Refusal(404, "NotFound", message);
  return new Refusal(503, "ServiceUnavailable", `the API server could not be asked: ${message}`);
}

function storeRefusal({ code, message }: MillraceError): Refusal {
  return new Refusal(code === "Internal" ? 500 : 503, code, message);
}

function refuse(response: ServerResponse, refusal: Refusal): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { code, reason, message } = refusal;
  const body = JSON.stringify({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    reason,
    code,
  });
  const head: Record<string, string> = { "content-type": "application/json" };
  if (code === 401) head["www-authenticate"] = 'Bearer realm="millrace"';
  if (code === 429) head["retry-after"] = "1";
  response.writeHead(code, head).end(body);
}
