import type { RequestOptions } from "node:https";
import { KubeConfig } from "@kubernetes/client-node";
import type { Clock } from "../../engine/clock.ts";

export interface TlsOptions {
  readonly ca?: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  readonly passphrase?: string;
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
}

/** What a request bears besides itself. */
export interface Credentials {
  /** Authorization, Impersonate-User. */
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: TlsOptions;
  readonly proxyUrl?: string;
}

/** How long files and exec plugins are not asked again. Tokens and certificates are rotated long before they end. */
const maxAgeMs = 10_000;

/** How long after a renewal that changed nothing the next one waits: wrong credentials must not start a plugin per request. */
const renewalPauseMs = 1_000;

interface Held {
  readonly reading: Promise<Credentials>;
  readonly readAtMs: number;
  /** Set once `reading` is done. */
  credentials: Credentials | undefined;
}

/**
 * Credentials as client-node finds them (files, exec plugins, OIDC), read at most every ten seconds instead of at each
 * request, and by one caller at a time, so that a burst of requests starts an exec plugin once.
 */
export class CredentialSource {
  /** The API server's URL, perhaps with a path. */
  readonly server: string;
  readonly #clock: Clock;
  #config: KubeConfig;
  #held: Held | undefined;
  #renewedAtMs = Number.NEGATIVE_INFINITY;

  constructor(config: KubeConfig, clock: Clock) {
    const cluster = config.getCurrentCluster();
    if (!cluster) throw new Error(`the kubeconfig's context "${config.getCurrentContext()}" names no known cluster`);
    this.server = cluster.server;
    this.#config = config;
    this.#clock = clock;
  }

  /** Rejects with what the exec plugin or the file system said, or with the signal's reason. */
  async get(signal: AbortSignal): Promise<Credentials> {
    signal.throwIfAborted();
    const held = this.#held;
    const current = held && this.#clock.monotonic() - held.readAtMs <= maxAgeMs ? held : this.#read();
    return current.credentials ?? orAborted(current.reading, signal);
  }

  /** After the server refused `refused`: what there is now, or undefined when it is the same still. */
  async renew(refused: Credentials, signal: AbortSignal): Promise<Credentials | undefined> {
    const current = await this.get(signal);
    if (!same(current, refused)) return current;
    const nowMs = this.#clock.monotonic();
    if (nowMs - this.#renewedAtMs < renewalPauseMs) return undefined;
    this.#renewedAtMs = nowMs;
    // client-node caches tokens inside the KubeConfig's authenticators and has no way to drop them: a copy starts afresh.
    this.#config = copyOf(this.#config);
    const renewed = await orAborted(this.#read().reading, signal);
    return same(renewed, refused) ? undefined : renewed;
  }

  #read(): Held {
    const reading = readCredentials(this.#config);
    const held: Held = { reading, readAtMs: this.#clock.monotonic(), credentials: undefined };
    this.#held = held;
    reading.then(
      (credentials) => {
        held.credentials = credentials;
      },
      () => {
        if (this.#held === held) this.#held = undefined;
      },
    );
    return held;
  }
}

/** A plugin that hangs does not hold up whoever has given up. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const onAbort = () => reject(signal.reason as Error);
  signal.addEventListener("abort", onAbort, { once: true });
  work.then(resolve, reject);
  return promise.finally(() => signal.removeEventListener("abort", onAbort));
}

async function readCredentials(config: KubeConfig): Promise<Credentials> {
  // `applySecurityAuthentication`, which client-node's own calls use, makes a new TLS agent per request.
  const options: RequestOptions = {};
  await config.applyToHTTPSOptions(options);
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) headers[name.toLowerCase()] = String(value).trim();
  if (options.auth) headers.authorization = `Basic ${Buffer.from(options.auth).toString("base64")}`;
  const proxyUrl = config.getCurrentCluster()?.proxyUrl;
  return { headers, tls: tlsOf(options), ...(proxyUrl ? { proxyUrl } : {}) };
}

function tlsOf(options: RequestOptions): TlsOptions {
  const { ca, cert, key, passphrase, servername, rejectUnauthorized } = options;
  return {
    ...(ca ? { ca: ca as Buffer } : {}),
    ...(cert ? { cert: cert as Buffer } : {}),
    ...(key ? { key: key as Buffer } : {}),
    ...(passphrase ? { passphrase } : {}),
    ...(servername ? { servername } : {}),
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
  };
}

function copyOf(config: KubeConfig): KubeConfig {
  const copy = new KubeConfig();
  const { clusters, users, contexts, currentContext } = config;
  copy.loadFromOptions({ clusters, users, contexts, currentContext });
  return copy;
}

function same(a: Credentials, b: Credentials): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
