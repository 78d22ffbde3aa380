// A proxy that answers wrongly when it is told to.

import type { IncomingMessage, ServerResponse } from "node:http";
import { Agent, request as send } from "undici";
import { startHttpServer } from "./rpc/http-server.ts";

/** What the server behind the proxy answered. */
export interface ProxiedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** Answers in the place of the server, or, where it gives false, leaves that to the proxy. */
export type Fault = (
  request: IncomingMessage,
  response: ServerResponse,
  answer: ProxiedAnswer,
) => boolean | Promise<boolean>;

export interface FaultyProxy extends AsyncDisposable {
  readonly host: string;
  /** None: answers what the server does. */
  fault: Fault | undefined;
  /** `METHOD PATH`, in the order in which they came. */
  readonly requests: string[];
}

/** On loopback, in this process, in front of `upstream`, which speaks plain http. */
export async function startFaultyProxy(upstream: string): Promise<FaultyProxy> {
  const agent = new Agent();
  const requests: string[] = [];
  const server = await startHttpServer(async (request, response) => {
    requests.push(`${request.method} ${request.url}`);
    const { statusCode, headers, body } = await send(`${upstream}${request.url}`, {
      dispatcher: agent,
      method: request.method === "HEAD" ? "HEAD" : "GET",
      headers: Object.entries(request.headers).flatMap(([name, value]) =>
        name === "host" || name === "connection" ? [] : [name, String(value)],
      ),
    });
    const answer = { status: statusCode, headers, body: Buffer.from(await body.arrayBuffer()) };
    if ((await proxy.fault?.(request, response, answer)) === true) return;
    response.writeHead(answer.status, headersOf(answer)).end(answer.body);
  });
  const proxy: FaultyProxy = {
    host: new URL(server.endpoint).host,
    fault: undefined,
    requests,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await agent.destroy();
    },
  };
  return proxy;
}

/** Of an answer, without those of the connection. */
export function headersOf({ headers }: ProxiedAnswer): Record<string, string | string[]> {
  const kept = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined || ["connection", "keep-alive", "transfer-encoding"].includes(name)
      ? []
      : [[name, value] as const],
  );
  return Object.fromEntries(kept);
}
