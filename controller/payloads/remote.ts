import { createHash } from "node:crypto";
import { Agent, request } from "undici";
import { MillraceError } from "../../engine/errors.ts";
import { refusalOfServer } from "./addresses.ts";
import type { PayloadRef } from "./store.ts";

export interface RemotePayloadsOptions {
  /** Of the controller's payload endpoint, without a path: `https://host:port`, or `http://…` on loopback. */
  readonly server: string;
  readonly token: string;
  /** PEM of the authority that signed the endpoint's certificate; absent: those that the system trusts. */
  readonly authority?: string;
}

/** Payloads read through a controller's endpoint, as somebody whom the cluster knows. */
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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }

  async #get(namespace: string, ref: PayloadRef, signal: AbortSignal) {
    const { server, token } = this.#options;
    const url = new URL(`/v1/namespaces/${namespace}/payloads/${ref.digest}`, server);
    url.searchParams.set("contentType", ref.contentType);
    try {
      const headers = { authorization: `Bearer ${token}` };
      const { statusCode, body } = await request(url, { dispatcher: this.#agent, headers, signal });
      if (statusCode === 200) return body;
      throw refused(statusCode, await body.text(), server);
    } catch (cause) {
      signal.throwIfAborted();
      if (cause instanceof MillraceError) throw cause;
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

function refused(status: number, body: string, server: string): MillraceError {
  const said = messageOf(body);
  if (status === 404) return new MillraceError("PayloadLost", said);
  if (status === 401 || status === 403) return new MillraceError("InvalidInput", said);
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
