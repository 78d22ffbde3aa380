import type { Dispatcher } from "undici";
import { connectionError, faultError } from "./errors.ts";

/** One request. */
export interface Exchange {
  readonly path: string;
  /** Names and values in turn. */
  readonly headers: string[];
  readonly body: Uint8Array;
  /** Named in messages. */
  readonly url: string;
  /** Of an answer of 2xx; others are read up to 64 KiB. */
  readonly maxBodyBytes: number;
  readonly signal: AbortSignal;
}

/** One whole answer. */
export interface Answer {
  readonly status: number;
  readonly body: Uint8Array;
  /** A header by its lower-case name, several of the same name joined by commas. */
  header(name: string): string | undefined;
}

/** How much of a failure's body is read, in bytes; a longer one counts as empty. */
const maxFailureBytes = 64 * 1024;

/**
 * Makes one POST. Written against undici's handler rather than its `request`: a handler knows whether the request has been
 * handed to a connection, counts the answer's bytes while they come, and needs no stream between. Rejects with the
 * signal's reason once it aborts, and then closes the connection, which is how the server learns of it.
 */
export function exchange(dispatcher: Dispatcher, request: Exchange): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { signal } = request;
    if (signal.aborted) return reject(signal.reason);
    const handler = new ExchangeHandler(request, resolve, reject);
    signal.addEventListener("abort", handler, { once: true });
    const { path, headers, body } = request;
    dispatcher.dispatch({ method: "POST", path, headers, body }, handler);
  });
}

class ExchangeHandler implements Dispatcher.DispatchHandler {
  readonly #request: Exchange;
  readonly #resolve: (answer: Answer) => void;
  readonly #reject: (reason: unknown) => void;
  /** Set once the request has been handed to a connection. */
  #controller: Dispatcher.DispatchController | undefined;
  #status = 0;
  #headers: Dispatcher.ResponseData["headers"] = {};
  #maxBytes = 0;
  #bytes = 0;
  #chunks: Buffer[] = [];
  #settled = false;

  constructor(request: Exchange, resolve: (answer: Answer) => void, reject: (reason: unknown) => void) {
    this.#request = request;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** The signal aborted. */
  handleEvent(): void {
    this.#fail(this.#request.signal.reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // Thrown, undici drops the request and keeps the new connection.
    if (this.#settled) throw new Error("the call was given up before it had a connection");
    this.#controller = controller;
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Dispatcher.ResponseData["headers"],
  ): void {
    this.#status = status;
    this.#headers = headers;
    this.#maxBytes = status < 300 ? this.#request.maxBodyBytes : maxFailureBytes;
    const announced = Number(this.#header("content-length") ?? 0);
    if (announced > this.#maxBytes) this.#overflow(`${announced}`);
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.byteLength;
    if (this.#bytes > this.#maxBytes) this.#overflow(`more than ${this.#maxBytes}`);
    else this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    const [only] = this.#chunks;
    const body = this.#chunks.length === 1 && only !== undefined ? only : Buffer.concat(this.#chunks, this.#bytes);
    this.#succeed(body);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#fail(connectionError(this.#request.url, error, this.#controller !== undefined));
  }

  /** The rest is not read: the connection is closed. */
  #overflow(bytes: string): void {
    if (this.#status >= 300) {
      this.#succeed(new Uint8Array());
      this.#controller?.abort(new Error("the rest of the failure's body is not read"));
      return;
    }
    const { url, maxBodyBytes } = this.#request;
    this.#fail(
      faultError(
        "TooLarge",
        `${url} answered with ${bytes} bytes, over the limit of ${maxBodyBytes} bytes (maxOutputSize)`,
      ),
    );
  }

  #succeed(body: Uint8Array): void {
    if (this.#settled) return;
    this.#settle();
    this.#resolve({ status: this.#status, body, header: (name) => this.#header(name) });
  }

  #fail(reason: unknown): void {
    if (this.#settled) return;
    this.#settle();
    this.#reject(reason);
    this.#controller?.abort(reason instanceof Error ? reason : new Error(String(reason)));
  }

  #settle(): void {
    this.#settled = true;
    this.#request.signal.removeEventListener("abort", this);
  }

  #header(name: string): string | undefined {
    const value = this.#headers[name];
    return Array.isArray(value) ? value.join(",") : value;
  }
}
