// An HTTP server as a processor: the body is the payload, the answer's body is the output (see docs/rpc.md).
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { keywords } from "./keywords.ts";

const port = Number(process.argv[2] ?? 27152);

createServer((request, response) => {
  answer(request, response).catch((error: unknown) => {
    console.error(error);
    response.destroy();
  });
})
  .on("error", (error) => {
    console.error(`keywords: cannot listen: ${error.message}`);
    process.exit(1);
  })
  .listen(port, "127.0.0.1", () => console.log(`keywords: http://127.0.0.1:${port}`));

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== "POST" || request.url !== "/keywords") {
    response.writeHead(404).end();
    return;
  }
  const eras = keywords(await text(request), 8);
  if (eras.length === 0) {
    response.writeHead(422, { "content-type": "application/problem+json" });
    response.end(
      JSON.stringify({
        title: "no terms",
        status: 422,
        detail: "expected lines of ERA, WORD and COUNT",
        code: "InvalidInput",
      }),
    );
    return;
  }
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(eras));
}
