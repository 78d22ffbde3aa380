import { MessageChannel, type MessagePort } from "node:worker_threads";
import { MillraceError, toMillraceError } from "../../../engine/errors.ts";
import type { GuestHttpRequest, GuestHttpResponse } from "../abis/guest.ts";
import { tooMuch } from "../abis/refusals.ts";
import { readBody } from "../network/body.ts";
import type { ModuleNetwork, NetworkResponse } from "../network/network.ts";
import { AllowedHosts } from "./allowed-hosts.ts";
import { answered, asked, type GuestLink, type GuestReply } from "./guest-link.ts";

export interface GuestNetworkOptions {
  /** Plain http is for it to allow, and so are addresses. */
  readonly network: Pick<ModuleNetwork, "request">;
  /** `capabilities.allowedHosts`. */
  readonly allowedHosts: readonly string[];
  /** The attempt's: ends what is being fetched. */
  readonly signal: AbortSignal;
  /** Of a request's body, and of an answer's. */
  readonly maxBytes: number;
}

/** For messages: what a guest calls. */
const field = "http_request";
const maxRedirects = 5;
const maxHeaderBytes = 32 * 1024;

/**
 * Headers that say how a request is framed and to whom it goes: they are ours to write. A `host` of the guest's own would lead
 * to another site than the one that was allowed.
 */
const ownHeaders: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** No site means to be asked so by a program that it does not know: the first makes a tunnel, the others give back what headers came. */
const refusedMethods: ReadonlySet<string> = new Set(["CONNECT", "TRACE", "TRACK"]);

/**
 * The main thread's end of one call's network: answers what its guest asks for while the worker waits. Only hosts of
 * `allowedHosts` are reached, also by a redirect, of which 5 are followed at most. Any status is an answer; failures are
 * SandboxViolation (a host or an address that may not be reached), PayloadTooLarge, InvalidInput (no URL, or nothing that
 * HTTP can send), Unavailable.
 */
export class GuestNetwork implements Disposable {
  readonly #options: GuestNetworkOptions;
  readonly #allowedHosts: AllowedHosts;
  readonly #closed = new AbortController();
  readonly #signal: AbortSignal;
  #port: MessagePort | undefined;

  constructor(options: GuestNetworkOptions) {
    this.#options = options;
    this.#allowedHosts = new AllowedHosts(options.allowedHosts);
    this.#signal = AbortSignal.any([options.signal, this.#closed.signal]);
  }

  /** A new link to put into a job, its port to be transferred; the one before it is closed, as its job was not taken. */
  open(): GuestLink {
    this.#port?.close();
    const { port1, port2 } = new MessageChannel();
    const turn = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    port1.on("message", (request: GuestHttpRequest) => {
      void this.#answer(request).then((reply) => post(port1, turn, reply));
    });
    this.#port = port1;
    return { port: port2, turn };
  }

  /** The call has ended: what it still fetches is given up. Idempotent. */
  [Symbol.dispose](): void {
    this.#closed.abort(new MillraceError("Cancelled", "the call has ended"));
    this.#port?.close();
  }

  /** Never rejects. */
  async #answer(request: GuestHttpRequest): Promise<GuestReply> {
    try {
      return { kind: "Answered", response: await this.#fetch(request) };
    } catch (thrown) {
      const { code, message } = toMillraceError(thrown);
      return { kind: "Failed", code, message };
    }
  }

  async #fetch({ method, url, headers, body }: GuestHttpRequest): Promise<GuestHttpResponse> {
    const { network, maxBytes } = this.#options;
    checkMethod(method);
    if (body !== undefined && body.byteLength > maxBytes) {
      throw tooMuch(`${field}: a request's body`, body.byteLength, maxBytes);
    }
    const response = await network.request(url, {
      field,
      method: method.toUpperCase(),
      headers: checkedHeaders(headers),
      ...(body === undefined ? {} : { body }),
      maxRedirects,
      mayReach: (next) => this.#check(next),
      signal: this.#signal,
    });
    return { status: response.status, headers: response.headers, body: await this.#body(method, response) };
  }

  async #body(method: string, response: NetworkResponse): Promise<Uint8Array<ArrayBuffer>> {
    const { maxBytes } = this.#options;
    if (method.toUpperCase() !== "HEAD")
      return await readBody(response, maxBytes, (bytes) => tooMuch(`${field}: the answer's body`, bytes, maxBytes));
    // The length that comes with it is that of the body which a GET would give.
    await response.discard();
    return new Uint8Array();
  }

  #check(url: URL): void {
    if (this.#allowedHosts.has(url)) return;
    throw new MillraceError(
      "SandboxViolation",
      `${field}: the module may not reach ${url.host}: it is not in spec.wasm.capabilities.allowedHosts.`,
    );
  }
}

function checkMethod(method: string): void {
  if (!refusedMethods.has(method.toUpperCase())) return;
  throw new MillraceError(
    "InvalidInput",
    `${field}: the method ${method.toUpperCase()} may not be sent. Use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.`,
  );
}

function checkedHeaders(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const entries = Object.entries(headers).filter(([name]) => !isOwn(name.toLowerCase()));
  const bytes = entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (bytes > maxHeaderBytes) throw tooMuch(`${field}: a request's headers`, bytes, maxHeaderBytes);
  return Object.fromEntries(entries);
}

function isOwn(name: string): boolean {
  return ownHeaders.has(name) || name.startsWith("proxy-");
}

/** The answer first: whoever is woken finds it. */
function post(port: MessagePort, turn: Int32Array, reply: GuestReply): void {
  const buffer = reply.kind === "Answered" ? reply.response.body.buffer : undefined;
  port.postMessage(reply, buffer instanceof ArrayBuffer ? [buffer] : []);
  if (Atomics.compareExchange(turn, 0, asked, answered) === asked) Atomics.notify(turn, 0);
}
