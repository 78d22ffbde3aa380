import { Agent, type Dispatcher } from "undici";
import { MillraceError } from "../../../engine/errors.ts";
import { AddressGuard } from "../../addresses.ts";
import { defaultPort, guardedConnect, type LookupAll } from "./connect.ts";
import { type Fetched, fetchError, networkError } from "./errors.ts";
import { InsecureHosts } from "./insecure-hosts.ts";
import { type Hop, isRedirect, redirected } from "./redirects.ts";

export interface NetworkOptions {
  /** Ranges of addresses that may be reached besides public ones, as `10.1.0.0/16`. Default: none. */
  readonly allowAddresses?: readonly string[];
  /** `host` or `host:port`: reached wherever they are, over plain http, or https whose certificate is not verified. Default: none. */
  readonly allowInsecureRegistries?: readonly string[];
  /** Whether plain http may be spoken with all hosts, or with insecure ones only, as for what nobody on the way may change. Default: the latter. */
  readonly plainHttp?: "All" | "InsecureHosts";
  /** PEM of authorities besides those that the platform trusts. */
  readonly ca?: string;
  /** How long a connection, the head of an answer, or the next part of it may take, in milliseconds; default 15 s. */
  readonly idleTimeoutMs?: number;
  /** How names become addresses; default: the system's way. */
  readonly lookup?: LookupAll;
}

export interface NetworkRequest {
  /** The field that names the URL, with which messages begin: `spec.wasm.source.http`. */
  readonly field: string;
  /** Default GET. */
  readonly method?: string;
  /** Names in any case. Those by which somebody could be known are not sent to another host that a redirect leads to. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** How many redirects are followed, each checked as the first URL was. Default 0: a redirect is an answer like another. */
  readonly maxRedirects?: number;
  /** Called with the URL and with each that a redirect leads to; throws where it may not be reached. */
  readonly mayReach?: (url: URL) => void;
  /** Also ends the reading of the body. */
  readonly signal: AbortSignal;
}

export interface NetworkResponse {
  /** Where the answer came from, after all redirects. */
  readonly url: URL;
  readonly status: number;
  /** Names in lower case; what came more than once is joined by `, `. */
  readonly headers: Readonly<Record<string, string>>;
  /**
   * As it came, never decompressed; to be read once, or else to be discarded. Throws Unavailable when it is cut off, shorter
   * than its content-length or silent for too long, and the signal's reason.
   */
  readonly body: AsyncIterable<Uint8Array>;
  /** Lets the body go unread; resolves when its connection can be used again, or is closed. Never rejects. */
  discard(): Promise<void>;
}

const defaultIdleTimeoutMs = 15_000;

/** Connections to one origin at most; more requests wait. */
const maxConnections = 8;

const maxHeaderBytes = 32 * 1024;

/** What is read of a body that nobody wants, so that its connection can be used again; with more of it that is closed. */
const maxDiscardedBytes = 16 * 1024;

const userAgent = "millrace";

/**
 * The network as it is reached on behalf of Processors: their modules, and what their modules ask for. Over https to public
 * addresses, and to what an administrator allows besides; no proxy of the environment is used. HTTP/1.1, by kept connections.
 */
export class ModuleNetwork implements AsyncDisposable {
  readonly #insecureHosts: InsecureHosts;
  readonly #plainHttp: NonNullable<NetworkOptions["plainHttp"]>;
  readonly #idleTimeoutMs: number;
  readonly #agent: Agent;

  /** @throws InvalidInput for a range or a host that is none */
  constructor(options: NetworkOptions = {}) {
    const timeoutMs = options.idleTimeoutMs ?? defaultIdleTimeoutMs;
    this.#idleTimeoutMs = timeoutMs;
    this.#plainHttp = options.plainHttp ?? "InsecureHosts";
    this.#insecureHosts = new InsecureHosts(options.allowInsecureRegistries ?? []);
    this.#agent = new Agent({
      connect: guardedConnect({
        guard: new AddressGuard(options.allowAddresses),
        insecureHosts: this.#insecureHosts,
        ca: options.ca,
        connectTimeoutMs: timeoutMs,
        lookup: options.lookup,
      }),
      connections: maxConnections,
      allowH2: false,
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
  }

  /**
   * @throws InvalidInput for what is no https URL (or http, where that may be spoken), or holds a user; SandboxViolation for an
   * address that may not be reached; Unavailable when there is no answer, or one redirect too many; what `mayReach` throws;
   * the signal's reason
   */
  async request(url: string | URL, request: NetworkRequest): Promise<NetworkResponse> {
    const { field, method = "GET", headers = {}, body, maxRedirects = 0 } = request;
    let hop: Hop = { url: parseUrl(url, field), method, headers, body };
    for (let left = maxRedirects; ; left -= 1) {
      this.#check(hop.url, field);
      request.mayReach?.(hop.url);
      const response = await this.#send(hop, request);
      const { location } = response.headers;
      if (maxRedirects === 0 || !isRedirect(response.status, location)) return response;
      await response.discard();
      if (left === 0)
        throw fetchError("Unavailable", { field, url: hop.url }, `redirects on after ${maxRedirects} redirects.`);
      hop = redirected(hop, response.status, location, field);
    }
  }

  /** Whether the administrator trusts the host of `url` without TLS. */
  isInsecure(url: URL): boolean {
    return this.#insecureHosts.has(url.hostname, Number(url.port || defaultPort(url.protocol)));
  }

  /** Closes all connections; idempotent. Requests in flight fail. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }

  #check(url: URL, field: string): void {
    const fetched: Fetched = { field, url };
    if (url.username !== "" || url.password !== "") {
      throw fetchError(
        "InvalidInput",
        fetched,
        "has a user or a password in it. Leave them out: they would be seen by all.",
      );
    }
    if (url.protocol === "https:") return;
    if (url.protocol !== "http:") throw fetchError("InvalidInput", fetched, "is no https URL.");
    if (this.#plainHttp === "All" || this.isInsecure(url)) return;
    const mend = "Use https, or have the administrator trust the host with --insecure-registry.";
    throw fetchError(
      "InvalidInput",
      fetched,
      `would come over plain http, where anybody on the way can change it. ${mend}`,
    );
  }

  async #send(hop: Hop, { field, signal }: NetworkRequest): Promise<NetworkResponse> {
    const { url, method } = hop;
    const fetched: Fetched = { field, url };
    try {
      signal.throwIfAborted();
      const answer = await this.#agent.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method: method as Dispatcher.HttpMethod,
        headers: { "accept-encoding": "identity", "user-agent": userAgent, ...lowerCased(hop.headers) },
        body: hop.body ?? null,
        signal,
      });
      const { body } = answer;
      const discard = async () => {
        const enough = AbortSignal.any([signal, AbortSignal.timeout(this.#idleTimeoutMs)]);
        await body.dump({ limit: maxDiscardedBytes, signal: enough }).catch(() => undefined);
      };
      return {
        url,
        status: answer.statusCode,
        headers: joined(answer.headers),
        body: chunks(body, fetched, signal),
        discard,
      };
    } catch (thrown) {
      signal.throwIfAborted();
      throw networkError(fetched, thrown);
    }
  }
}

async function* chunks(
  body: AsyncIterable<unknown>,
  fetched: Fetched,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of body) yield chunk as Uint8Array;
  } catch (thrown) {
    signal.throwIfAborted();
    throw networkError(fetched, thrown);
  }
}

function parseUrl(url: string | URL, field: string): URL {
  const parsed = URL.parse(url);
  if (parsed !== null) return parsed;
  throw new MillraceError(
    "InvalidInput",
    `${field}: ${JSON.stringify(url)} is no URL. Write https://, a host and a path.`,
  );
}

function lowerCased(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function joined(headers: Readonly<Record<string, string | string[] | undefined>>): Readonly<Record<string, string>> {
  const entries = Object.entries(headers).map(([name, value]) => [name, [value ?? ""].flat().join(", ")] as const);
  return Object.fromEntries(entries);
}
