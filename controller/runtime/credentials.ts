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

interface Held {
  readonly credentials: Promise<Credentials>;
  readonly readAtMs: number;
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

  constructor(config: KubeConfig, clock: Clock) {
    const cluster = config.getCurrentCluster();
    if (!cluster) throw new Error(`the kubeconfig's context "${config.getCurrentContext()}" names no known cluster`);
    this.server = cluster.server;
    this.#config = config;
    this.#clock = clock;
  }

  /** Rejects with what the exec plugin or the file system said, or with the signal's reason. */
  get(signal: AbortSignal): Promise<Credentials> {
    signal.throwIfAborted();
    if (this.#held === undefined || this.#clock.monotonic() - this.#held.readAtMs > maxAgeMs) this.#read();
    return (this.#held as Held).credentials;
  }

  /** After the server refused `refused`: what there is now, or undefined when it is the same still. */
  async renew(refused: Credentials, signal: AbortSignal): Promise<Credentials | undefined> {
    const current = await this.get(signal);
    if (!same(current, refused)) return current;
    // client-node caches tokens inside the KubeConfig's authenticators and has no way to drop them: a copy starts afresh.
    this.#config = copyOf(this.#config);
    this.#read();
    const renewed = await this.get(signal);
    return same(renewed, refused) ? undefined : renewed;
  }

  #read(): void {
    const credentials = readCredentials(this.#config);
    const held = { credentials, readAtMs: this.#clock.monotonic() };
    this.#held = held;
    credentials.catch(() => {
      if (this.#held === held) this.#held = undefined;
    });
  }
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
