import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface HttpTestServer extends AsyncDisposable {
  readonly endpoint: string;
  readonly port: number;
  /** Connections that were ever made. */
  readonly connections: () => number;
  /** Connections that are open now. */
  readonly open: () => number;
}

export type HttpListener = (request: IncomingMessage, response: ServerResponse) => Promise<void> | void;

/** What a listener throws becomes a rejection. */
async function answer(listener: HttpListener, request: IncomingMessage, response: ServerResponse): Promise<void> {
  await listener(request, response);
}

/** A real HTTP server on loopback, in this process. A listener that rejects ends its connection. */
export async function startHttpServer(listener: HttpListener, port = 0): Promise<HttpTestServer> {
  const server = createServer({ maxHeaderSize: 64 * 1024, keepAliveTimeout: 60_000 }, (request, response) => {
    answer(listener, request, response).catch(() => request.socket.destroy());
  });
  let connections = 0;
  let open = 0;
  server.on("connection", (socket) => {
    connections += 1;
    open += 1;
    socket.on("close", () => {
      open -= 1;
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, "127.0.0.1", resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  return {
    endpoint: `http://127.0.0.1:${bound}`,
    port: bound,
    connections: () => connections,
    open: () => open,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Answers with the same bytes, once all are there. */
export async function echo(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await bodyOf(request);
  response.setHeader("content-type", request.headers["content-type"] ?? "application/octet-stream");
  const metadata = request.headers["millrace-metadata"];
  if (metadata !== undefined) response.setHeader("millrace-metadata", metadata);
  response.end(body);
}
