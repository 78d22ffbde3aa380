import { type Fetched, fetchError, printableUrl } from "./errors.ts";

/** One request of a chain of redirects. */
export interface Hop {
  readonly url: URL;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | undefined;
}

/** What another host is told: nothing by which somebody could be known, or that was meant for the first one. */
const headersForOthers: ReadonlySet<string> = new Set([
  "accept",
  "accept-encoding",
  "content-type",
  "if-modified-since",
  "if-none-match",
  "range",
  "user-agent",
]);

const statuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** A 3xx that says where to go on; 304 and 300 do not. */
export function isRedirect(status: number, location: string | undefined): location is string {
  return statuses.has(status) && location !== undefined;
}

/**
 * The request that a redirect asks for, as browsers do: 303, and 301 and 302 of a POST, become a GET without a body.
 * @throws Unavailable where it leads to no URL, or from https to http
 */
export function redirected(hop: Hop, status: number, location: string, field: string): Hop {
  const from: Fetched = { field, url: hop.url };
  const url = URL.parse(location, hop.url);
  if (url === null) throw fetchError("Unavailable", from, `redirects (${status}) to what is no URL.`);
  if (hop.url.protocol === "https:" && url.protocol !== "https:") {
    throw fetchError(
      "Unavailable",
      from,
      `redirects (${status}) from https to ${printableUrl(url)}, which is not https.`,
    );
  }
  const becomesGet = (status === 303 && hop.method !== "HEAD") || (status < 303 && hop.method === "POST");
  const entries = Object.entries(hop.headers).filter(([name]) => {
    const lower = name.toLowerCase();
    if (becomesGet && lower.startsWith("content-")) return false;
    return url.origin === hop.url.origin || headersForOthers.has(lower);
  });
  const headers = Object.fromEntries(entries);
  return becomesGet ? { url, method: "GET", headers } : { ...hop, url, headers };
}
