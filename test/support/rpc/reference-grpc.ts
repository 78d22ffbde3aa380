// The reference processor as a gRPC server: `node reference-grpc.ts` listens on a free port of loopback, prints it, and
// then really dies of a crash.
import { type AddressInfo, createServer, type Socket } from "node:net";
import { Server, ServerCredentials, type ServiceDefinition, type sendUnaryData } from "@grpc/grpc-js";
import { loadProcessorService, type ProcessResponseMessage } from "../../../backends/rpc/protocol.ts";
import type { ProcessCall } from "./grpc-server.ts";
import { referenceAnswer } from "./reference.ts";

export interface ReferenceServer extends AsyncDisposable {
  readonly endpoint: string;
}

/** Without `die`, a crash cuts the connection that the call came over, and nothing else. */
export async function startReferenceGrpc(die?: () => void): Promise<ReferenceServer> {
  const sockets = new Map<string, Socket>();
  const grpc = new Server({ "grpc.max_receive_message_length": -1 });
  const cut = (call: ProcessCall) => (die === undefined ? sockets.get(call.getPeer())?.destroy() : die());
  const service = loadProcessorService() as unknown as ServiceDefinition;
  grpc.addService(service, {
    Process: (call: ProcessCall, callback: sendUnaryData<ProcessResponseMessage>) => answer(call, callback, cut),
    Describe: (_call: unknown, callback: sendUnaryData<object>) =>
      callback(null, { name: "reference", version: "1.0.0" }),
  });
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const server = createServer((socket) => {
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;
    sockets.set(peer, socket);
    socket.on("close", () => sockets.delete(peer));
    injector.injectConnection(socket);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    endpoint: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      injector.destroy();
      grpc.forceShutdown();
      for (const socket of sockets.values()) socket.destroy();
      await closed;
    },
  };
}

function answer(
  call: ProcessCall,
  callback: sendUnaryData<ProcessResponseMessage>,
  cut: (call: ProcessCall) => void,
): void {
  const { payload, contentType, metadata, optionsJson, context } = call.request;
  const attempt = context?.attempt ?? 0;
  const outcome = referenceAnswer({ payload: payload as Buffer, contentType, metadata, optionsJson, attempt });
  switch (outcome.kind) {
    case "Result": {
      const { payload: bytes, contentType: type } = outcome;
      callback(null, { result: { payload: bytes, contentType: type }, metadata: outcome.metadata });
      return;
    }
    case "Failure": {
      const { code, message, retryable } = outcome;
      callback(null, { error: { code, message, retryable }, metadata: {} });
      return;
    }
    case "Crash":
      cut(call);
      return;
    case "Slow":
      return;
  }
}

if (import.meta.main) {
  const server = await startReferenceGrpc(() => process.exit(70));
  console.log(server.endpoint);
}
