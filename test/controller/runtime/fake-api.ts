import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { KubeConfig } from "@kubernetes/client-node";
import type { KubernetesObject, Resource } from "../../../controller/api/client.ts";

export interface FakeRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export type FakeHandler = (request: FakeRequest, response: ServerResponse) => void | Promise<void>;

export const words: Resource = { group: "test.dev", version: "v1", plural: "words", kind: "Word", namespaced: true };

/** An API server over a real socket that answers what the test says, however wrong. */
export class FakeApi implements AsyncDisposable {
  readonly requests: FakeRequest[] = [];
  handler: FakeHandler;
  readonly #server: Server;

  private constructor(handler: FakeHandler) {
    this.handler = handler;
    this.#server = createServer((request, response) => {
      void text(request).then((body) => {
        const { method = "", headers, url = "/" } = request;
        const asked = { method, url: new URL(url, "http://fake"), headers, body };
        this.requests.push(asked);
        return this.handler(asked, response);
      });
    });
  }

  static async start(handler: FakeHandler): Promise<FakeApi> {
    const api = new FakeApi(handler);
    api.#server.listen(0, "127.0.0.1");
    await once(api.#server, "listening");
    return api;
  }

  get server(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** As `loadKubeConfig` makes it; `user` adds credentials. */
  config(user: Readonly<Record<string, unknown>> = {}): KubeConfig {
    const config = new KubeConfig();
    config.loadFromOptions({
      clusters: [{ name: "fake", server: this.server, skipTLSVerify: true }],
      users: [{ name: "somebody", ...user }],
      contexts: [{ name: "fake", cluster: "fake", user: "somebody" }],
      currentContext: "fake",
    });
    return config;
  }

  /** Breaks every connection, as a killed server does. */
  cut(): void {
    this.#server.closeAllConnections();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}

export function word(
  name: string,
  resourceVersion: number,
  more: Readonly<Record<string, unknown>> = {},
): KubernetesObject {
  const metadata = { namespace: "ns", name, uid: `uid-${name}`, resourceVersion: String(resourceVersion) };
  return { apiVersion: "test.dev/v1", kind: "Word", metadata, ...more };
}

export function answer(
  response: ServerResponse,
  code: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(code, { "content-type": "application/json", ...headers });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
}

export function fail(
  response: ServerResponse,
  code: number,
  reason: string,
  headers: Record<string, string> = {},
): void {
  answer(response, code, { kind: "Status", code, reason, message: `told to say ${reason}` }, headers);
}

export function list(items: readonly KubernetesObject[], resourceVersion: number, more = ""): unknown {
  return { kind: "WordList", metadata: { resourceVersion: String(resourceVersion), continue: more }, items };
}

/** One line of a watch. */
export function line(type: string, object: unknown): string {
  return `${JSON.stringify({ type, object })}\n`;
}

export function bookmark(resourceVersion: number): string {
  return line("BOOKMARK", { kind: "Word", metadata: { resourceVersion: String(resourceVersion) } });
}
