import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { Pool } from "undici";
import type { Clock } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import { type Metadata, noMetadata } from "../../engine/metadata.ts";
import { BytesPayload, binaryType } from "../../engine/payload.ts";
import type { CallContext, Intent, ProcessorRequest, ProcessorResponse } from "../../engine/processor.ts";
import type { HttpEndpoint, LoadedProcessor, ProcessorSpec } from "../backend.ts";
import { retryAfterMs } from "../retry-after.ts";
import { Secrets } from "../secrets.ts";
import { type HttpTarget, httpTarget } from "./endpoints.ts";
import { connectionError, faultError, httpCode } from "./errors.ts";
import { type Answer, exchange } from "./exchange.ts";
import { decodeLog, decodeMetadata, headerNames, maxAnswerHeaderBytes, requestHeaders } from "./headers.ts";
import type { RpcHost } from "./host.ts";
import { CallsInFlight } from "./in-flight.ts";
import { readFailure } from "./problem.ts";

/** How long a connection may take to be made, in milliseconds. */
const connectTimeoutMs = 5000;

/**
 * How long an unused connection is kept where the server does not say by `Keep-Alive`, in milliseconds. Below the 5 s of
 * many servers, so that a request seldom meets a connection that is just being closed.
 */
const keepAliveMs = 4000;

/**
 * A processor behind HTTP/1.1, called over up to `maxConnections` keep-alive connections, one call on each at a time.
 * Connects when it is first called. Rejects as `statusTable` in errors.ts says, and with the signal's reason once that has
 * aborted (the server sees the connection closed).
 */
export class HttpProcessor implements LoadedProcessor {
  readonly name: string;
  readonly intent: Intent;
  readonly digests: readonly string[] = [];
  /** A call that had to wait for a connection would wait within its time. */
  readonly maxConcurrency: number;
  readonly #target: HttpTarget;
  /** For messages. */
  readonly #url: string;
  readonly #maxOutputBytes: number;
  readonly #host: RpcHost;
  readonly #clock: Clock;
  readonly #inFlight: CallsInFlight;
  readonly #pool: Pool;
  #disposal: Promise<void> | undefined;

  /** Throws InvalidInput when the endpoint or the path is none. */
  constructor(spec: ProcessorSpec, implementation: HttpEndpoint, host: RpcHost) {
    const { maxConnections } = implementation;
    this.#target = httpTarget(implementation.endpoint, implementation.path);
    this.#url = `${this.#target.origin}${this.#target.path}`;
    this.name = spec.name;
    this.intent = spec.intent;
    this.maxConcurrency = maxConnections;
    this.#maxOutputBytes = spec.limits.maxOutputBytes;
    this.#host = host;
    this.#clock = host.clock;
    this.#inFlight = new CallsInFlight(spec.name);
    this.#pool = new Pool(this.#target.origin, {
      connections: maxConnections,
      pipelining: 1,
      allowH2: false,
      connectTimeout: connectTimeoutMs,
      keepAliveTimeout: keepAliveMs,
      maxHeaderSize: maxAnswerHeaderBytes,
      // The attempt's deadline is the only limit on an answer's time.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  async process(request: ProcessorRequest, context: CallContext): Promise<ProcessorResponse> {
    const { signal, timeoutMs } = context;
    const endMs = this.#clock.monotonic() + timeoutMs;
    this.#inFlight.enter(signal);
    try {
      const body = await request.payload.bytes(signal);
      const leftMs = endMs - this.#clock.monotonic();
      const answer = await exchange(this.#pool, {
        path: this.#target.path,
        headers: requestHeaders(request, context, Math.max(1, Math.ceil(leftMs))),
        body,
        url: this.#url,
        maxBodyBytes: this.#maxOutputBytes,
        signal,
      });
      const log = answer.header(headerNames.log);
      if (log !== undefined) context.log(decodeLog(log));
      return this.#response(answer, new Secrets(context.secrets));
    } finally {
      this.#inFlight.leave();
    }
  }

  /** Opens a connection, over TLS with an https endpoint, and closes it again; no request is made. */
  probe(signal: AbortSignal): Promise<void> {
    const { hostname, port, secure } = this.#target;
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const servername = /^[\d.]+$|:/.test(hostname) ? undefined : hostname;
      const socket: Socket = secure
        ? connectTls({ host: hostname, port, ...(servername === undefined ? {} : { servername }) })
        : connectTcp({ host: hostname, port });
      const settle = (act: () => void) => {
        signal.removeEventListener("abort", onAbort);
        socket.destroy();
        act();
      };
      const onAbort = () => settle(() => reject(signal.reason));
      signal.addEventListener("abort", onAbort, { once: true });
      socket.setTimeout(connectTimeoutMs, () => socket.destroy(new Error(`no answer within ${connectTimeoutMs} ms`)));
      socket.once(secure ? "secureConnect" : "connect", () => settle(resolve));
      socket.once("error", (error) => settle(() => reject(connectionError(this.#url, error, false))));
    });
  }

  /** Idempotent. Waits for the calls in flight, then closes the connections. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#disposal ??= this.#dispose();
    return this.#disposal;
  }

  async #dispose(): Promise<void> {
    await this.#inFlight.close();
    await this.#pool.destroy();
    this.#host.disposed(this);
  }

  #response(answer: Answer, secrets: Secrets): ProcessorResponse {
    const { status, body } = answer;
    if (status >= 300 && status < 400) throw this.#redirect(answer);
    if (status >= 400) return this.#failure(answer, secrets);
    const encoding = answer.header("content-encoding");
    if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
      throw faultError("Malformed", `${this.#url} answered with content-encoding ${encoding}, which was not asked for`);
    }
    const contentType = answer.header("content-type") ?? binaryType;
    return { ok: true, metadata: this.#metadata(answer), payload: new BytesPayload(body, contentType) };
  }

  #redirect(answer: Answer): MillraceError {
    const location = answer.header("location") ?? "nowhere";
    return faultError(
      "Redirect",
      `${this.#url} answered ${answer.status}, a redirect to ${location}: redirects are not followed; ` +
        "put the final address into spec.rpc.endpoint and spec.rpc.http.path",
    );
  }

  #failure(answer: Answer, secrets: Secrets): ProcessorResponse {
    const wait = retryAfterMs(answer.header("retry-after"), this.#clock.now());
    const { declared, excerpt } = readFailure({
      status: answer.status,
      contentType: answer.header("content-type") ?? "",
      body: answer.body,
      retryAfterMs: wait,
      secrets,
    });
    if (declared !== undefined) return { ok: false, metadata: this.#metadata(answer), error: declared };
    throw new MillraceError(
      httpCode(answer.status),
      `${this.#url} answered ${answer.status}${excerpt === "" ? "" : `: ${excerpt}`}`,
      wait === undefined ? {} : { retryAfterMs: wait },
    );
  }

  #metadata(answer: Answer): Metadata {
    const text = answer.header(headerNames.metadata);
    if (text === undefined) return noMetadata;
    try {
      return decodeMetadata(text);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw faultError("Malformed", `${this.#url} answered with a bad ${headerNames.metadata} header: ${why}`, error);
    }
  }
}
