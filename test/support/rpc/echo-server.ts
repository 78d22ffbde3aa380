// The least server that gives payloads back, for benches: `node echo-server.ts grpc|http` listens on a free port of
// loopback, prints it, and ends with its standard input.
import { echoed, startGrpcServer } from "./grpc-server.ts";
import { echo, startHttpServer } from "./http-server.ts";

const endpoint =
  process.argv[2] === "grpc"
    ? (await startGrpcServer({ process: echoed })).endpoint
    : (await startHttpServer(echo)).endpoint;
console.log(endpoint);
process.stdin.resume().once("end", () => process.exit(0));
