import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface HealthCheck {
  /** Shown as `[+]name ok`. */
  readonly name: string;
  /** Live: failing it restarts the process. Ready: failing it only takes traffic away. Live checks count for readiness too. */
  readonly kind: "Live" | "Ready";
  /** What is wrong, or undefined when all is well. Quick: it is asked every few seconds. */
  check(): string | undefined;
}

/** prom-client's Registry is one. */
export interface MetricsSource {
  readonly contentType: string;
  metrics(): Promise<string>;
}

export interface ListenAddress {
  /** Default: all interfaces. */
  readonly host?: string;
  /** 0: any free port. */
  readonly port: number;
}

export interface ProbeServerOptions {
  readonly address: ListenAddress;
  readonly checks: readonly HealthCheck[];
  /** Served at `/metrics` here, unless `metricsAddress` is given. */
  readonly metrics?: MetricsSource;
  readonly metricsAddress?: ListenAddress;
}

/** `/healthz` and `/livez` (live checks), `/readyz` (all), and `/metrics`. */
export interface ProbeServer extends AsyncDisposable {
  readonly port: number;
  /** Undefined without metrics. */
  readonly metricsPort: number | undefined;
}

interface Answer {
  readonly status: number;
  readonly contentType?: string;
  readonly body: string;
}

type Handler = (url: URL) => Promise<Answer> | Answer | undefined;

/** Rejects when an address is in use or not allowed. */
export async function startProbeServer(options: ProbeServerOptions): Promise<ProbeServer> {
  const { address, checks, metrics, metricsAddress } = options;
  const own = metricsAddress !== undefined;
  const probes = await listen(address, (url) => answerProbe(url, checks) ?? (own ? undefined : scrape(url, metrics)));
  try {
    const scrapes = own ? await listen(metricsAddress, (url) => scrape(url, metrics)) : undefined;
    return {
      port: portOf(probes),
      metricsPort: metrics && portOf(scrapes ?? probes),
      [Symbol.asyncDispose]: async () => void (await Promise.all([close(probes), scrapes && close(scrapes)])),
    };
  } catch (error) {
    await close(probes);
    throw error;
  }
}

function answerProbe(url: URL, checks: readonly HealthCheck[]): Answer | undefined {
  switch (url.pathname) {
    case "/healthz":
    case "/livez":
      return report(
        url,
        checks.filter(({ kind }) => kind === "Live"),
      );
    case "/readyz":
      return report(url, checks);
    default:
      return undefined;
  }
}

/** As the API server's own: `ok`, or every check's line where one fails or `?verbose` asks for them. */
function report(url: URL, checks: readonly HealthCheck[]): Answer {
  const results = checks.map((check) => ({ name: check.name, problem: run(check) }));
  const healthy = results.every(({ problem }) => problem === undefined);
  if (healthy && !url.searchParams.has("verbose")) return { status: 200, body: "ok" };
  const lines = results.map(({ name, problem }) =>
    problem === undefined ? `[+]${name} ok` : `[-]${name} failed: ${problem}`,
  );
  const verdict = `${url.pathname.slice(1)} check ${healthy ? "passed" : "failed"}`;
  return { status: healthy ? 200 : 500, body: `${[...lines, verdict].join("\n")}\n` };
}

function run(check: HealthCheck): string | undefined {
  try {
    return check.check();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function scrape(url: URL, metrics: MetricsSource | undefined): Promise<Answer> | undefined {
  if (url.pathname !== "/metrics" || metrics === undefined) return undefined;
  return metrics.metrics().then((body) => ({ status: 200, contentType: metrics.contentType, body }));
}

function listen(address: ListenAddress, handler: Handler): Promise<Server> {
  const server = createServer((request, response) => void serve(request, response, handler));
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(address.port, address.host, () => {
      server.off("error", reject);
      resolve(server);
    });
  });
}

async function serve(request: IncomingMessage, response: ServerResponse, handler: Handler): Promise<void> {
  const answer = await answerTo(request, handler);
  response.writeHead(answer.status, {
    "content-type": answer.contentType ?? "text/plain; charset=utf-8",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  });
  response.end(request.method === "HEAD" ? undefined : answer.body);
}

async function answerTo(request: IncomingMessage, handler: Handler): Promise<Answer> {
  if (request.method !== "GET" && request.method !== "HEAD") return { status: 405, body: "only GET\n" };
  const url = URL.parse(request.url ?? "/", "http://probe");
  try {
    return (url && (await handler(url))) ?? { status: 404, body: "not found\n" };
  } catch (error) {
    return { status: 500, body: `${error instanceof Error ? error.message : String(error)}\n` };
  }
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
