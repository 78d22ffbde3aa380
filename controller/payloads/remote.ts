import { createHash } from "node:crypto";
import { Agent, type Dispatcher, request } from "undici";
import { type Scheduler, sleep } from "../../engine/clock.ts";
import { type ErrorCode, MillraceError } from "../../engine/errors.ts";
import type { BytesPayload, Payload } from "../../engine/payload.ts";
import { refusalOfServer } from "./addresses.ts";
import type { PayloadRef } from "./store.ts";

export interface RemotePayloadsOptions {
  /** Of the controller's payload endpoint, without a path: `https://host:port`, or `http://…` on loopback. */
  readonly server: string;
  readonly token: string;
  /** PEM of the authority that signed the endpoint's certificate; absent: those that the system trusts. */
  readonly authority?: string;
  readonly scheduler: Scheduler;
}

/** How often an endpoint that is busy is asked again, and how long after; in milliseconds. */
const busy = { retries: 10, delayMs: 1_000 } as const;

/** Payloads read and added through a controller's endpoint, as somebody whom the cluster knows. */
export class RemotePayloads implements AsyncDisposable {
  readonly #options: RemotePayloadsOptions;
  readonly #agent: Agent;

  /** Throws MillraceError InvalidInput for a URL to which no token may be sent. */
  constructor(options: RemotePayloadsOptions) {
    const refusal = refusalOfServer(options.server);
    if (refusal !== undefined)
      throw new MillraceError("InvalidInput", `no token is sent to ${options.server}: ${refusal}`);
    this.#options = options;
    this.#agent = new Agent(options.authority === undefined ? {} : { connect: { ca: options.authority } });
  }

  /**
   * The bytes as they come; the last of them only after size and digest of all are known to be right. Throws MillraceError:
   * PayloadLost (the store has it no more, or it is corrupt), InvalidInput (401 and 403: the message says what is missing), Unavailable.
   */
  async *read(namespace: string, ref: PayloadRef, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const body = await this.#get(namespace, ref, signal);
    const hash = createHash("sha256");
    let bytes = 0;
    let held: Uint8Array | undefined;
    try {
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
        if (held !== undefined) yield held;
        held = chunk;
        bytes += chunk.byteLength;
        hash.update(chunk);
      }
    } catch (cause) {
      signal.throwIfAborted();
      throw this.#brokenOff(ref, bytes, cause);
    }
    if (`sha256:${hash.digest("hex")}` !== ref.digest) throw this.#brokenOff(ref, bytes);
    if (held !== undefined) yield held;
  }

  /** A handle that reads as `read` does. */
  open(namespace: string, ref: PayloadRef): Payload {
    const stream = (signal: AbortSignal) => ReadableStream.from(this.read(namespace, ref, signal));
    return {
      contentType: ref.contentType,
      size: ref.bytes,
      digest: ref.digest,
      stream,
      bytes: async (signal) => Buffer.concat(await Array.fromAsync(this.read(namespace, ref, signal))),
    };
  }

  /**
   * Durable when it resolves; the store keeps it for an hour until an Execution names it. Throws MillraceError: InvalidInput (401 and
   * 403: the message says what is missing), PayloadTooLarge, ResourceExhausted, Unavailable.
   */
  async put(namespace: string, payload: BytesPayload, signal: AbortSignal): Promise<void> {
    const url = this.#url(namespace, payload.digest);
    const { statusCode, body } = await this.#request(url, { method: "PUT", body: payload.data }, signal);
    const text = await body.text();
    if (statusCode !== 200 && statusCode !== 201) throw refused(statusCode, text, this.#options.server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }

  async #get(namespace: string, ref: PayloadRef, signal: AbortSignal) {
    const url = this.#url(namespace, ref.digest);
    url.searchParams.set("contentType", ref.contentType);
    const { statusCode, body } = await this.#request(url, { method: "GET" }, signal);
    if (statusCode === 200) return body;
    throw refused(statusCode, await body.text(), this.#options.server);
  }

  #url(namespace: string, digest: string): URL {
    return new URL(`/v1/namespaces/${namespace}/payloads/${digest}`, this.#options.server);
  }

  /** Throws MillraceError Unavailable when nobody answers. */
  async #request(url: URL, what: Sent, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const { server, token, scheduler } = this.#options;
    const headers = { authorization: `Bearer ${token}` };
    try {
      for (let attempt = 0; ; attempt += 1) {
        const answer = await request(url, { ...what, dispatcher: this.#agent, headers, signal });
        if (answer.statusCode !== 429 || attempt === busy.retries) return answer;
        await answer.body.dump();
        await sleep(busy.delayMs, scheduler, signal);
      }
    } catch (cause) {
      signal.throwIfAborted();
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new MillraceError("Unavailable", `the controller's payload endpoint ${server} cannot be reached: ${why}`, {
        cause,
      });
    }
  }

  #brokenOff(ref: PayloadRef, bytes: number, cause?: unknown): MillraceError {
    const message = `payload ${ref.digest} came broken: ${bytes} of ${ref.bytes} bytes, or other bytes than its digest says`;
    return new MillraceError("PayloadLost", message, { cause });
  }
}

interface Sent {
  readonly method: "GET" | "PUT";
  readonly body?: Uint8Array;
}

const errorCodes: Readonly<Record<number, ErrorCode>> = {
  400: "InvalidInput",
  401: "InvalidInput",
  403: "InvalidInput",
  404: "PayloadLost",
  413: "PayloadTooLarge",
  507: "ResourceExhausted",
};

function refused(status: number, body: string, server: string): MillraceError {
  const code = errorCodes[status];
  const said = messageOf(body);
  if (code !== undefined) return new MillraceError(code, said);
  return new MillraceError("Unavailable", `the controller's payload endpoint ${server} answered ${status}: ${said}`);
}

/** The message of a `kind: Status`, else the body's beginning. */
function messageOf(body: string): string {
  try {
    const { message } = JSON.parse(body) as { readonly message?: unknown };
    if (typeof message === "string") return message;
  } catch {
    // Not from a Millrace endpoint; its own words are the best there is.
  }
  return body.slice(0, 200);
}
