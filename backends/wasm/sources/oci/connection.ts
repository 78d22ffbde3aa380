import { MillraceError } from "../../../../engine/errors.ts";
import type { ModuleNetwork, NetworkResponse } from "../../network/network.ts";
import { Authorizer } from "./authorizer.ts";
import { type Asked, failureOf, field } from "./failures.ts";
import { apiHostOf } from "./reference.ts";

/** What a registry needs of the network. */
export type RegistryNetwork = Pick<ModuleNetwork, "request" | "isInsecure">;

/** One request of the distribution specification, below `/v2/REPOSITORY/`. */
export interface RegistryRequest extends Asked {
  readonly method: "GET" | "HEAD";
  /** `manifests/1.2`, `blobs/sha256:…`. */
  readonly path: string;
  readonly accept: string;
}

/** Registries send blobs' readers on to where they keep them. */
const maxRedirects = 5;

/** Speaks to registries: with the scheme that they have, and as whoever asks. */
export class RegistryConnection {
  readonly #network: RegistryNetwork;
  readonly #authorizer: Authorizer;
  readonly #now: () => number;
  /** Schemes of insecure registries, once they have answered. */
  readonly #schemes = new Map<string, "https" | "http">();

  /** @param now for a `Retry-After` that is a date, in milliseconds since the epoch */
  constructor(network: RegistryNetwork, now: () => number) {
    this.#network = network;
    this.#now = now;
    this.#authorizer = new Authorizer(network, now);
  }

  /**
   * An answer of 200, its body still to be read.
   * @throws MillraceError NotFound, InvalidInput (refused), Unavailable, what the network throws, and the signal's reason
   */
  async request(request: RegistryRequest, signal: AbortSignal): Promise<NetworkResponse> {
    const { reference, path } = request;
    const host = apiHostOf(reference);
    const scheme = await this.#scheme(host, signal);
    const url = new URL(`${scheme}://${host}/v2/${reference.repository}/${path}`);
    let response = await this.#send(url, request, this.#authorizer.kept(request), signal);
    // Who is redirected to another host and asked there who they are does not say it.
    if (response.status === 401 && response.url.origin === url.origin) {
      const authorization = await this.#authorizer.authorize(response, request, signal);
      response = await this.#send(url, request, authorization, signal);
    }
    if (scheme === "http") this.#schemes.set(host, scheme);
    if (response.status !== 200) throw await failureOf(response, request, this.#now());
    return response;
  }

  #send(url: URL, request: RegistryRequest, authorization: string | undefined, signal: AbortSignal) {
    const { method, accept } = request;
    const headers = { accept, ...(authorization === undefined ? {} : { authorization }) };
    return this.#network.request(url, { field, method, headers, maxRedirects, signal });
  }

  /** `https`, and of a registry that may be insecure what it speaks: `http` where https does not get through. */
  async #scheme(host: string, signal: AbortSignal): Promise<"https" | "http"> {
    if (!this.#network.isInsecure(new URL(`http://${host}`))) return "https";
    const known = this.#schemes.get(host);
    if (known !== undefined) return known;
    try {
      const response = await this.#network.request(`https://${host}/v2/`, { field, signal });
      await response.discard();
      this.#schemes.set(host, "https");
      return "https";
    } catch (thrown) {
      if (!(thrown instanceof MillraceError) || thrown.code !== "Unavailable" || signal.aborted) throw thrown;
      return "http";
    }
  }
}
