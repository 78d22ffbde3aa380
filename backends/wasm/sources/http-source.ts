import { printableUrl } from "../network/errors.ts";
import { fetchHttp, fetchHttpSignatures, type HttpModule, type HttpResolution, resolveHttp } from "./http.ts";
import type { RemoteSource, Resolution } from "./source.ts";

/** The source that a URL is. It is fetched as anybody could. */
export function httpSource(module: HttpModule): RemoteSource {
  const { url } = module;
  return {
    kind: "Remote",
    name: URL.canParse(url) ? printableUrl(new URL(url)) : url,
    reference: `http ${url}`,
    moves: false,
    credentials: "",
    resolve: (known, signal) => resolveHttp(module, known && stored(known), signal),
    fetch: (_resolution, signal) => fetchHttp(module, signal),
    signatures: async (_resolution, signal) => ({ kind: "Detached", ...(await fetchHttpSignatures(module, signal)) }),
  };
}

function stored({ version, digest, details = {} }: Resolution): HttpResolution {
  return digest === undefined ? { version, details } : { version, digest, details };
}
