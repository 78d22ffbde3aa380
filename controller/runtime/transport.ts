/** One HTTP request to an API server, without its origin and without credentials: those are the transport's. */
export interface TransportRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** With the query, from `/api` or `/apis` on. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** An answer whose body has not been read yet. Exactly one of `text`, iteration and `discard` may be used. */
export interface TransportResponse {
  readonly status: number;
  /** A response header by its lower-case name. */
  header(name: string): string | undefined;
  text(): Promise<string>;
  chunks(): AsyncIterable<Uint8Array>;
  /** Gives up on the body. Idempotent. */
  discard(): void;
}

/**
 * Carries requests to an API server: over sockets ({@link HttpTransport}), or by a direct call into an API server in the same
 * process. Rejects with whatever the network said, and with the signal's reason once that aborts.
 */
export interface Transport extends AsyncDisposable {
  /** Where requests go, for messages: `https://10.0.0.1:443`. */
  readonly server: string;
  send(request: TransportRequest, signal: AbortSignal): Promise<TransportResponse>;
}
