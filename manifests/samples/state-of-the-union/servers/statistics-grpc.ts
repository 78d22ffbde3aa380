// A gRPC server as a processor: it serves `millrace.processor.v1.Processor` (see docs/rpc.md).
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { load } from "@grpc/proto-loader";
import { statistics } from "./statistics.ts";

interface ProcessRequest {
  readonly payload: Uint8Array;
}

const port = Number(process.argv[2] ?? 27151);
const proto = join(import.meta.dirname, "../../../../backends/rpc/processor.proto");
const definition = await load(proto, { keepCase: true, defaults: true });
const service = definition["millrace.processor.v1.Processor"] as grpc.ServiceDefinition;

const server = new grpc.Server({ "grpc.max_receive_message_length": 64 * 1024 * 1024 });
server.addService(service, {
  Process: (call: grpc.ServerUnaryCall<ProcessRequest, object>, callback: grpc.sendUnaryData<object>) =>
    callback(null, answer(new TextDecoder().decode(call.request.payload))),
  Describe: (_call: grpc.ServerUnaryCall<object, object>, callback: grpc.sendUnaryData<object>) =>
    callback(null, { name: "measure-style", version: "1.0.0", intent: "INTENT_TRANSFORM" }),
});
server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error !== null) {
    console.error(`statistics: cannot listen: ${error.message}`);
    process.exit(1);
  }
  console.log(`statistics: 127.0.0.1:${port}`);
});

function answer(text: string): object {
  const result = statistics(text);
  if (result === undefined) {
    return { error: { code: "InvalidInput", message: "expected addresses, each after a line `# YEAR NAME`" } };
  }
  return { result: { payload: Buffer.from(JSON.stringify(result)), content_type: "application/json" } };
}
