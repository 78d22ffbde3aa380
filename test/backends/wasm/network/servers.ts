// Real https servers on loopback, with certificates of an authority of their own.

import { createServer, type ServerOptions } from "node:https";
import type { AddressInfo } from "node:net";
import type { LookupAll } from "../../../../backends/wasm/network/connect.ts";
import { createAuthority, createCertificate } from "../../../cluster/certificates.ts";
import type { HttpListener } from "../../../support/rpc/http-server.ts";

export interface HttpsTestServer extends AsyncDisposable {
  readonly port: number;
  /** Connections that were ever made. */
  readonly connections: () => number;
  readonly open: () => number;
}

const authority = createAuthority("millrace test");
const certificate = createCertificate(authority, {
  commonName: "modules.test",
  usage: "Server",
  hosts: ["modules.test", "other.test", "127.0.0.1"],
});

/** PEM of the authority that signed the servers' certificates: for `modules.test`, `other.test` and 127.0.0.1. */
export const ca: string = authority.certificate;

/** A listener that rejects ends its connection. */
export async function startHttpsServer(
  listener: HttpListener,
  { host = "127.0.0.1", port = 0, options = {} as ServerOptions } = {},
): Promise<HttpsTestServer> {
  const pem = { cert: certificate.certificate, key: certificate.key };
  const server = createServer({ ...pem, ...options }, (request, response) => {
    (async () => listener(request, response))().catch(() => request.socket.destroy());
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
    server.once("error", reject).listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => connections,
    open: () => open,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A DNS in which every name has these addresses. */
export function dnsOf(...addresses: readonly string[]): LookupAll {
  return (_hostname, answer) =>
    answer(
      null,
      addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );
}
