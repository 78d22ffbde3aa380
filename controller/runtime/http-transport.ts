import { createHash } from "node:crypto";
import type { KubeConfig } from "@kubernetes/client-node";
import { Agent, type Dispatcher, ProxyAgent, Socks5ProxyAgent } from "undici";
import type { Ports } from "../../engine/clock.ts";
import { CredentialSource, type Credentials, type TlsOptions } from "./credentials.ts";
import type { Transport, TransportRequest, TransportResponse } from "./transport.ts";

export interface HttpTransportOptions {
  /** Cluster, user and credentials; from `loadKubeConfig`. */
  readonly config: KubeConfig;
  readonly ports: Ports;
  /** Keep-alive connections at most; a watch holds one. Default 48. */
  readonly connections?: number;
}

const defaultConnections = 48;

/** Below the API server's own 90 s, so that a request never meets a connection which the server is just closing. */
const idleConnectionMs = 60_000;

/** When the kernel starts to probe a silent connection: under the 60 s of the usual cloud load balancers. */
const keepAliveProbeMs = 30_000;

/**
 * HTTP/1.1 over keep-alive connections: undici sends POST and PATCH one after another over HTTP/2, which halves the writes
 * per second. One dispatcher per set of certificates; a rotated certificate gets a new one and the old one drains.
 */
export class HttpTransport implements Transport {
  readonly server: string;
  readonly #credentials: CredentialSource;
  readonly #connections: number;
  readonly #origin: string;
  /** The path of the server's URL, as behind a proxy for many clusters. */
  readonly #prefix: string;
  #current: { readonly tls: TlsOptions; readonly key: string; readonly dispatcher: Dispatcher } | undefined;
  readonly #draining = new Set<Dispatcher>();

  constructor(options: HttpTransportOptions) {
    this.#credentials = new CredentialSource(options.config, options.ports.clock);
    this.#connections = options.connections ?? defaultConnections;
    this.server = this.#credentials.server;
    const { origin, pathname } = new URL(this.server);
    this.#origin = origin;
    this.#prefix = pathname.replace(/\/$/, "");
  }

  async send(request: TransportRequest, signal: AbortSignal): Promise<TransportResponse> {
    const credentials = await this.#credentials.get(signal);
    const response = await this.#dispatch(request, credentials, signal);
    if (response.status !== 401) return response;
    // A token or certificate may have been rotated under us. The server refused before doing anything, so once more is safe.
    const renewed = await this.#credentials.renew(credentials, signal);
    if (renewed === undefined) return response;
    response.discard();
    return this.#dispatch(request, renewed, signal);
  }

  async #dispatch(
    request: TransportRequest,
    credentials: Credentials,
    signal: AbortSignal,
  ): Promise<TransportResponse> {
    const response = await this.#dispatcherFor(credentials).request({
      origin: this.#origin,
      path: `${this.#prefix}${request.path}`,
      method: request.method,
      headers: { ...request.headers, ...credentials.headers },
      ...(request.body === undefined ? {} : { body: request.body }),
      signal,
      // Deadlines are the client's, on the injected clock.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    return new HttpResponse(response);
  }

  #dispatcherFor({ tls, proxyUrl }: Credentials): Dispatcher {
    const current = this.#current;
    // Credentials are read anew every few seconds, and then mostly say the same: only then is it worth a hash.
    if (current?.tls === tls) return current.dispatcher;
    const key = fingerprint(tls);
    const same = current?.key === key;
    if (current && !same) this.#drain(current.dispatcher);
    const dispatcher = same ? current.dispatcher : createDispatcher(tls, proxyUrl, this.#connections);
    this.#current = { tls, key, dispatcher };
    return dispatcher;
  }

  #drain(dispatcher: Dispatcher): void {
    this.#draining.add(dispatcher);
    const forget = () => this.#draining.delete(dispatcher);
    dispatcher.close().then(forget, forget);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const dispatchers = [...this.#draining];
    if (this.#current) dispatchers.push(this.#current.dispatcher);
    this.#current = undefined;
    this.#draining.clear();
    await Promise.all(dispatchers.map((dispatcher) => dispatcher.destroy()));
  }
}

class HttpResponse implements TransportResponse {
  readonly #response: Dispatcher.ResponseData;

  constructor(response: Dispatcher.ResponseData) {
    this.#response = response;
  }

  get status(): number {
    return this.#response.statusCode;
  }

  header(name: string): string | undefined {
    const value = this.#response.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  text(): Promise<string> {
    return this.#response.body.text();
  }

  chunks(): AsyncIterable<Uint8Array> {
    return this.#response.body;
  }

  discard(): void {
    // Destroying an unread body reports an error to nobody: without a listener it would end the process.
    this.#response.body.on("error", () => {});
    this.#response.body.destroy();
  }
}

function createDispatcher(tls: TlsOptions, proxyUrl: string | undefined, connections: number): Dispatcher {
  const options = {
    connections,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: idleConnectionMs,
    keepAliveMaxTimeout: idleConnectionMs,
  };
  const connect = { ...tls, keepAlive: true, keepAliveInitialDelay: keepAliveProbeMs };
  if (proxyUrl === undefined) return new Agent({ ...options, connect });
  if (proxyUrl.startsWith("socks")) return new Socks5ProxyAgent(proxyUrl, { ...options, requestTls: tls });
  return new ProxyAgent({ ...options, uri: proxyUrl, requestTls: tls });
}

function fingerprint(tls: TlsOptions): string {
  const hash = createHash("sha256");
  for (const part of [tls.ca, tls.cert, tls.key, tls.passphrase, tls.servername, String(tls.rejectUnauthorized)]) {
    hash.update(part ?? "").update("\0");
  }
  return hash.digest("hex");
}
