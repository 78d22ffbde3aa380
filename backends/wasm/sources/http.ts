import { type ErrorCode, MillraceError } from "../../../engine/errors.ts";
import { retryAfterMs } from "../../retry-after.ts";
import { SourceRefusal } from "../../source-refusal.ts";
import { readBody } from "../network/body.ts";
import { fetchError, printableUrl } from "../network/errors.ts";
import type { ModuleNetwork, NetworkResponse } from "../network/network.ts";
import { type Download, modulePace, type Pace, paced } from "../network/pace.ts";
import { Digest } from "./digest.ts";
import { maxSignatureBytes, moduleTooLarge, signatureTooLarge } from "./source.ts";

/** A module behind a URL. */
export interface HttpModule {
  readonly network: ModuleNetwork;
  readonly url: string;
  /** A larger module is refused. */
  readonly maxBytes: number;
  /** The wall clock, for a `Retry-After` that is a date. */
  readonly now: () => number;
  /** Default {@link modulePace}. */
  readonly pace?: Pace;
}

/** What a URL held at one time. Plain data. */
export interface HttpResolution {
  /** The same as long as the server says that the URL holds the same: by its ETag, else its date and length, else its bytes. */
  readonly version: string;
  /** `sha256:…` of the bytes, where there was no other way than to read them. */
  readonly digest?: string;
  /** By what the server is asked whether it still does: `etag`, `lastModified`. */
  readonly details: Readonly<Record<string, string>>;
}

/** A module that was fetched, and what the server said of it then. */
export interface FetchedHttpModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly resolution: HttpResolution;
}

const field = "spec.wasm.source.http";
const maxRedirects = 5;

/** What is appended to a module's path for its detached signature, in the order in which they are looked for. */
const signatureSuffixes = [".minisig", ".sig"] as const;

/**
 * Asks what the URL holds now, without reading it where the server has an ETag or a date for it.
 * @param known what it held before: the server need not send it again
 * @throws what {@link fetchHttp} throws
 */
export async function resolveHttp(
  module: HttpModule,
  known: HttpResolution | undefined,
  signal: AbortSignal,
): Promise<HttpResolution> {
  return await inPace(module, module.url, signal, async (inTime, came) => {
    const response = await get(module, module.url, conditions(known), inTime);
    if (response.status === 304 && known !== undefined) {
      await response.discard();
      return known;
    }
    await expectWhole(module, response);
    const stated = resolutionOf(response);
    if (stated === undefined) return (await readModule(module, response, came)).resolution;
    await response.discard();
    return stated;
  });
}

/**
 * Gets the module. Redirects are followed, at most 5, each under the rules of the first URL.
 * @throws NotFound (404, 410); InvalidInput for a URL that may not be, any other 4xx, and an encoded answer; SandboxViolation for an
 * address inside; PayloadTooLarge; Unavailable for all else; the signal's reason
 */
export async function fetchHttp(module: HttpModule, signal: AbortSignal): Promise<FetchedHttpModule> {
  return await inPace(module, module.url, signal, async (inTime, came) => {
    const response = await get(module, module.url, {}, inTime);
    await expectWhole(module, response);
    return await readModule(module, response, came);
  });
}

/** Detached signatures beside the module, and in words where they were looked for. */
export interface HttpSignatures {
  readonly files: readonly Uint8Array[];
  readonly sought: string;
}

/** Looks for `URL.minisig` and `URL.sig`; a query stays as it is. Throws what {@link fetchHttp} throws, but for NotFound. */
export async function fetchHttpSignatures(module: HttpModule, signal: AbortSignal): Promise<HttpSignatures> {
  const urls = signatureSuffixes.map((suffix) => {
    const url = new URL(module.url);
    url.pathname += suffix;
    return url;
  });
  const found = await Promise.all(urls.map((url) => fetchSignature(module, url, signal)));
  return {
    files: found.filter((file) => file !== undefined),
    sought: urls.map(printableUrl).join(" and "),
  };
}

function fetchSignature(module: HttpModule, url: URL, signal: AbortSignal): Promise<Uint8Array | undefined> {
  return inPace(module, url, signal, async (inTime, came) => {
    const response = await get(module, url, {}, inTime);
    if (response.status === 404 || response.status === 410) {
      await response.discard();
      return undefined;
    }
    await expectWhole(module, response);
    const tooLarge = (bytes: number) => signatureTooLarge(printableUrl(response.url), bytes);
    return await readBody(response, maxSignatureBytes, tooLarge, came);
  });
}

function inPace<Result>(
  { pace = modulePace }: HttpModule,
  url: string | URL,
  signal: AbortSignal,
  download: Download<Result>,
): Promise<Result> {
  const tooSlow = (bytes: number, why: Error) => {
    const what = `came too slowly: ${bytes} bytes, ${why.message}.`;
    return fetchError("Unavailable", { field, url: new URL(url) }, what, why);
  };
  return paced(pace, signal, tooSlow, download);
}

function get(
  { network }: HttpModule,
  url: string | URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<NetworkResponse> {
  const accept = "application/wasm, application/octet-stream;q=0.9, */*;q=0.1";
  return network.request(url, { field, headers: { accept, ...headers }, maxRedirects, signal });
}

function conditions(known: HttpResolution | undefined): Readonly<Record<string, string>> {
  const { etag, lastModified } = known?.details ?? {};
  if (etag !== undefined) return { "if-none-match": etag };
  return lastModified === undefined ? {} : { "if-modified-since": lastModified };
}

async function expectWhole({ now }: HttpModule, response: NetworkResponse): Promise<void> {
  const encoding = response.headers["content-encoding"] ?? "identity";
  if (response.status === 200 && encoding.toLowerCase() === "identity") return;
  await response.discard();
  throw response.status === 200 ? encoded(response, encoding) : refused(response, now());
}

function encoded({ url }: NetworkResponse, encoding: string): MillraceError {
  const what = `came with content-encoding ${encoding}, which was not asked for. Serve the module as it is.`;
  return fetchError("InvalidInput", { field, url }, what);
}

function refused({ url, status, headers }: NetworkResponse, nowMs: number): MillraceError {
  if (status !== 401 && status !== 403) {
    const { code, message } = fetchError(codeOf(status), { field, url }, `answered ${status}.`);
    const wait = code === "Unavailable" ? retryAfterMs(headers["retry-after"], nowMs) : undefined;
    return new MillraceError(code, message, wait === undefined ? {} : { retryAfterMs: wait });
  }
  const why = `answered ${status}. Modules are fetched without credentials: private ones need an OCI source.`;
  return new SourceRefusal("Unauthorized", fetchError("InvalidInput", { field, url }, why).message);
}

function codeOf(status: number): ErrorCode {
  if (status === 404 || status === 410) return "NotFound";
  const passes = status < 400 || status >= 500 || [408, 425, 429].includes(status);
  return passes ? "Unavailable" : "InvalidInput";
}

async function readModule(
  { url, maxBytes }: HttpModule,
  response: NetworkResponse,
  came: (part: Uint8Array) => void,
): Promise<FetchedHttpModule> {
  const stated = resolutionOf(response);
  const digest = new Digest();
  const tooLarge = (bytes: number) => moduleTooLarge(printableUrl(new URL(url)), bytes, maxBytes);
  const bytes = await readBody(response, maxBytes, tooLarge, (chunk) => {
    came(chunk);
    if (stated === undefined) digest.add(chunk);
  });
  return { bytes, resolution: stated ?? resolutionOfDigest(digest.end()) };
}

function resolutionOf({ headers }: NetworkResponse): HttpResolution | undefined {
  const { etag, "last-modified": lastModified, "content-length": length = "?" } = headers;
  if (etag !== undefined && etag !== "") return { version: `etag ${etag}`, details: { etag } };
  if (lastModified === undefined) return undefined;
  return { version: `date ${lastModified}, ${length} bytes`, details: { lastModified } };
}

function resolutionOfDigest(digest: string): HttpResolution {
  return { version: digest, digest, details: {} };
}
