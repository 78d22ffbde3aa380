// The reference processor as a gRPC server: `node reference-grpc.ts` listens on a free port of loopback, prints it, and
// then really dies of a crash.
import type { ProcessResponseMessage } from "../../../backends/rpc/protocol.ts";
import { type GrpcTestServer, type ProcessCall, startGrpcServer } from "./grpc-server.ts";
import { referenceAnswer } from "./reference.ts";

/** Without `die`, a crash cuts the connection that the call came over, and nothing else. */
export async function startReferenceGrpc(die?: () => void): Promise<GrpcTestServer> {
  const server = await startGrpcServer({
    process: (call) => answer(call, die ?? (() => server.cut(call))),
    describe: { name: "reference", version: "1.0.0", intent: "INTENT_UNSPECIFIED", optionsSchemaJson: "" },
  });
  return server;
}

function answer(call: ProcessCall, crash: () => void): Promise<ProcessResponseMessage> | ProcessResponseMessage {
  const { payload, contentType, metadata, optionsJson, context, secrets = {} } = call.request;
  const log: string[] = [];
  const outcome = referenceAnswer({
    payload: payload as Buffer,
    contentType,
    metadata,
    optionsJson,
    attempt: context?.attempt ?? 0,
    item: context?.item ?? undefined,
    secrets,
    log: (text) => log.push(text),
  });
  switch (outcome.kind) {
    case "Result": {
      const { payload: bytes, contentType: type } = outcome;
      return { result: { payload: bytes, contentType: type }, metadata: outcome.metadata, log };
    }
    case "Failure": {
      const { code, message, retryable } = outcome;
      return { error: { code, message, retryable }, metadata: {}, log };
    }
    case "Crash":
      crash();
      return new Promise(() => undefined);
    case "Slow":
      return new Promise(() => undefined);
  }
}

if (import.meta.main) {
  const server = await startReferenceGrpc(() => process.exit(70));
  console.log(server.endpoint);
}
