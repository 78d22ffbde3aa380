import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";

/** One call as the processor saw it. */
export interface RecordedCall {
  readonly step: string;
  readonly idempotencyKey: string;
}

/** An HTTP processor in the test's own process: it counts its calls itself, whatever the controller says about them. */
export interface RecordingProcessor extends AsyncDisposable {
  readonly endpoint: string;
  /** In the order of their coming. */
  readonly calls: readonly RecordedCall[];
  /** What it does with a call before it answers; default: nothing. */
  before: (call: RecordedCall) => Promise<void>;
  /** What it answers with; default: what it was given. */
  answer: (call: RecordedCall, body: Buffer) => Buffer;
  /** Resolves when as many calls have come. */
  called(count: number): Promise<void>;
}

export async function recordingProcessor(): Promise<RecordingProcessor> {
  const calls: RecordedCall[] = [];
  const waiting = new Set<() => void>();
  const server = createServer((request, response) => void handle(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const processor: RecordingProcessor = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    before: () => Promise.resolve(),
    answer: (_call, body) => body,
    async called(count) {
      while (calls.length < count) await new Promise<void>((resolve) => waiting.add(resolve));
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== "POST") {
      response.writeHead(405).end();
      return;
    }
    const idempotencyKey = String(request.headers["idempotency-key"]);
    const call = { step: idempotencyKey.split("/")[1] ?? "", idempotencyKey };
    calls.push(call);
    for (const resolve of waiting) resolve();
    waiting.clear();
    const body = await buffer(request);
    await processor.before(call);
    response.writeHead(200, { "content-type": request.headers["content-type"] ?? "text/plain" });
    response.end(processor.answer(call, body));
  }
  return processor;
}
