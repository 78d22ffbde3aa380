import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";
import type { Ports } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import { binaryType } from "../../engine/payload.ts";
import type { Client } from "../api/client.ts";
import type { Logger } from "../runtime/logger.ts";
import { PayloadAccess, type PayloadVerb } from "./access.ts";
import { isLoopback, urlOf } from "./addresses.ts";
import { isDigest } from "./digest.ts";
import type { NamespaceUids } from "./namespaces.ts";
import { Refusal, refusalOf, refuse } from "./refusal.ts";
import type { PayloadStore } from "./store.ts";
import { Uploads } from "./upload.ts";

export interface PayloadEndpointOptions {
  readonly client: Client;
  readonly store: PayloadStore;
  readonly namespaces: NamespaceUids;
  /** Empty: all. Nothing is put into others: nobody would sweep it. */
  readonly worksIn: readonly string[];
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

/** Serves `GET` and `HEAD /v1/namespaces/NS/payloads/DIGEST[?contentType=TYPE]`, and takes `PUT` there. */
export interface PayloadEndpoint extends AsyncDisposable {
  /** Where it listens: `https://host:port` or `http://…`, without a path. */
  readonly url: string;
}

/** From a request's first byte to its last, in milliseconds. */
const requestMs = 300_000;

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
  server.requestTimeout = requestMs;
  // Whoever asks before sending a body is told to go on only once it is known that it is wanted.
  server.on("checkContinue", listener);
  const port = await listening(server, host, options.port);
  // A connection that cannot be accepted, for want of file descriptors, say, is not the end of the process.
  server.on("error", (error) =>
    options.logger.warn({ err: error }, "the payload endpoint could not take a connection"),
  );
  return {
    url: urlOf(tls === undefined ? "http" : "https", host, port),
    [Symbol.asyncDispose]: async () => {
      await closed(server);
      await handler.settled();
    },
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

class PayloadHandler {
  readonly #options: PayloadEndpointOptions;
  readonly #access: PayloadAccess;
  readonly #uploads: Uploads;
  readonly #handling = new Set<Promise<void>>();

  constructor(options: PayloadEndpointOptions) {
    this.#options = options;
    this.#access = new PayloadAccess(options.client, options.ports.clock);
    this.#uploads = new Uploads(options.ports.scheduler);
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const handled = this.#handle(request, response);
    this.#handling.add(handled);
    await handled;
    this.#handling.delete(handled);
  }

  /** Resolves when what was received in part has been removed. */
  async settled(): Promise<void> {
    await Promise.all(this.#handling);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    try {
      await this.#serve(request, response, gone.signal);
    } catch (error) {
      refuse(response, refusalOf(error));
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const { method = "" } = request;
    if (!["GET", "HEAD", "PUT"].includes(method)) {
      throw new Refusal(405, "MethodNotAllowed", "a payload is read by GET or HEAD, and added by PUT");
    }
    const wanted = parse(request.url ?? "/");
    await this.#authorize(request, method === "PUT" ? "create" : "get", wanted.namespace, signal);
    if (method === "PUT") await this.#receive(request, response, wanted, signal);
    else await this.#give(response, method, wanted, signal);
  }

  async #give(response: ServerResponse, method: string, wanted: Wanted, signal: AbortSignal): Promise<void> {
    const { namespace, digest, contentType } = wanted;
    if (!isDigest(digest)) throw new Refusal(404, "NotFound", `"${digest}" is not a digest: ${digestForm}`);
    const uid = await this.#options.namespaces.uidOf(namespace, signal);
    const bytes = await this.#options.store.stat(uid, digest, signal);
    if (bytes === undefined) {
      throw new Refusal(404, "NotFound", `namespace ${namespace} has no payload ${digest}; it may have been swept`);
    }
    const head = { "content-type": contentType, "content-length": bytes, "x-content-type-options": "nosniff" };
    if (method === "HEAD") {
      response.writeHead(200, head).end();
      return;
    }
    const chunks = this.#options.store.open(uid, { digest, bytes, contentType }).stream(signal);
    await send(response, head, chunks);
  }

  /** 201 for what is stored now, 200 for what was there; the sweep leaves both to whoever is going to name them, for its grace period. */
  async #receive(
    request: IncomingMessage,
    response: ServerResponse,
    { namespace, digest }: Wanted,
    signal: AbortSignal,
  ): Promise<void> {
    const { store, namespaces, worksIn } = this.#options;
    if (!isDigest(digest)) throw new Refusal(400, "BadRequest", `"${digest}" is not a digest: ${digestForm}`);
    if (worksIn.length > 0 && !worksIn.includes(namespace)) {
      throw new Refusal(404, "NotFound", `this controller works in ${worksIn.join(", ")} only, not in ${namespace}`);
    }
    const uid = await namespaces.uidOf(namespace, signal);
    const received = await this.#uploads.receive(request, { namespace, digest }, async (claimed, body) => {
      if (request.headers.expect !== undefined) response.writeContinue();
      const end = await store.receive(uid, claimed, body, signal);
      return { code: end === "Stored" ? 201 : 200, ...claimed };
    });
    const { code, ...answer } = received;
    response.writeHead(code, { "content-type": "application/json" }).end(JSON.stringify(answer));
  }

  async #authorize(request: IncomingMessage, verb: PayloadVerb, namespace: string, signal: AbortSignal): Promise<void> {
    const token = /^Bearer\s+(\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
    const access = token === undefined ? undefined : await this.#access.check(token, verb, namespace, signal);
    if (access?.kind === "Busy") {
      throw new Refusal(429, "TooManyRequests", "too many tokens are being asked about; try again in a second");
    }
    if (access === undefined || access.kind === "Unauthenticated") {
      throw new Refusal(401, "Unauthorized", "a bearer token that the cluster knows is needed");
    }
    if (access.kind === "Allowed") return;
    const what = `${access.user} may not "${verb}" the resource "executions/payload" of millrace.dev in namespace ${namespace}`;
    const mend = "a Role with that rule, bound to this user, allows it";
    throw new Refusal(403, "Forbidden", `${what}${access.reason === "" ? "" : ` (${access.reason})`}; ${mend}`);
  }
}

const digestForm = `"sha256:" and 64 hex digits`;

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
