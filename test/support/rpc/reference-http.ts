// The reference processor as an HTTP server: `node reference-http.ts` listens on a free port of loopback, prints it, and
// then really dies of a crash.
import type { IncomingMessage, ServerResponse } from "node:http";
import { decodeMetadata, encodeMetadata } from "../../../backends/rpc/headers.ts";
import { bodyOf, type HttpTestServer, startHttpServer } from "./http-server.ts";
import { referenceAnswer } from "./reference.ts";

/** Without `die`, a crash cuts the connection that the call came over, and nothing else. */
export async function startReferenceHttp(die?: () => void): Promise<HttpTestServer> {
  return await startHttpServer(async (request, response) => answer(request, response, await bodyOf(request), die));
}

function answer(request: IncomingMessage, response: ServerResponse, payload: Buffer, die?: () => void): void {
  const header = (name: string) => String(request.headers[name] ?? "");
  const log: string[] = [];
  const secrets = Object.entries(request.headers).flatMap(([name, value]) =>
    name.startsWith("millrace-secret-")
      ? [[name.slice("millrace-secret-".length), decodeURIComponent(String(value))]]
      : [],
  );
  const item = request.headers["millrace-item"];
  const outcome = referenceAnswer({
    payload,
    contentType: header("content-type"),
    metadata: decodeMetadata(header("millrace-metadata")),
    optionsJson: decodeURIComponent(header("millrace-options")) || "{}",
    attempt: Number(header("millrace-attempt")),
    item: item === undefined ? undefined : Number(item),
    secrets: Object.fromEntries(secrets),
    log: (text) => log.push(text),
  });
  if (log.length > 0) response.setHeader("millrace-log", encodeURIComponent(log.join("\n")));
  switch (outcome.kind) {
    case "Result": {
      const { payload: body, contentType, metadata } = outcome;
      response.writeHead(200, { "content-type": contentType, "millrace-metadata": encodeMetadata(metadata) });
      response.end(body);
      return;
    }
    case "Failure": {
      const { code, message, retryable } = outcome;
      response.writeHead(retryable ? 503 : 422, { "content-type": "application/problem+json" });
      response.end(JSON.stringify({ title: code, detail: message, code, retryable }));
      return;
    }
    case "Crash":
      if (die === undefined) request.socket.destroy();
      else die();
      return;
    case "Slow":
      return;
  }
}

if (import.meta.main) {
  const server = await startReferenceHttp(() => process.exit(70));
  console.log(server.endpoint);
}
