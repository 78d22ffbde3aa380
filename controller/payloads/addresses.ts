import { isIP } from "node:net";

/** Whether a host, as in an address or a URL, is this machine's own: what is sent there stays on it. */
export function isLoopback(host: string): boolean {
  const address = bare(host);
  return address === "localhost" || address === "::1" || (isIP(address) === 4 && address.startsWith("127."));
}

/** `https://host:port` or `http://…` of an address; port 0 is not a port. */
export function urlOf(scheme: "http" | "https", host: string, port: number): string {
  return `${scheme}://${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
}

/** What is wrong with the URL of a payload endpoint, to which a bearer token is going to be sent; undefined when nothing is. */
export function refusalOfServer(server: string): string | undefined {
  const url = URL.parse(server);
  if (url === null || !["http:", "https:"].includes(url.protocol) || url.pathname !== "/" || url.search !== "") {
    return "it is not a URL such as https://host:port, without a path";
  }
  if (url.protocol === "https:" || isLoopback(url.hostname)) return undefined;
  return "over http a bearer token would travel in the clear; http is for loopback only, https for all else";
}

export interface AdvertisedAddress {
  /** Where the endpoint listens. */
  readonly url: string;
  /** What the operator says instead. */
  readonly given?: string | undefined;
  readonly isInPod: boolean;
}

/**
 * Under which URL the Lease may name an endpoint. Whoever reads it sends a token there: the address of no machine, or a pod's own
 * loopback, would be whatever listens on the reader's. On a laptop loopback is where both of them are.
 */
export function advertisedUrl({ url, given, isInPod }: AdvertisedAddress): string | undefined {
  if (given !== undefined) return given;
  const { hostname } = new URL(url);
  const isUnspecified = ["0.0.0.0", "::"].includes(bare(hostname));
  return isUnspecified || (isInPod && isLoopback(hostname)) ? undefined : url;
}

function bare(host: string): string {
  return host.replace(/^\[(.*)\]$/, "$1");
}
