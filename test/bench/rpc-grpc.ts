// 1 KiB to a gRPC server in another process and back, 32 calls in flight, through call.ts and the RPC backend with its
// default of four connections.
// Baseline: grpc-js's own generated-style client, as its guide shows, with the same message and a deadline, on one channel and
// on four; the faster of the two counts. The server is the same process for all.
import { type ChannelOptions, Client, credentials } from "@grpc/grpc-js";
import {
  loadProcessorService,
  type ProcessRequestMessage,
  type ProcessResponseMessage,
} from "../../backends/rpc/protocol.ts";
import { bytesRequest, grpcAt, rpcBackend, specOf } from "../support/rpc/calls.ts";
import { startServerProcess } from "../support/rpc/child.ts";
import { callerOf, callMany, echoes } from "../support/rpc/load.ts";
import { type Bench, compare } from "./bench.ts";

const inFlight = 32;
const units = 800;
const rounds = 25;
const payloadBytes = 1024;

export const bench: Bench = async () => {
  await using server = await startServerProcess("echo-server.ts", "grpc");
  await using backend = rpcBackend();
  const { signal } = new AbortController();
  await using caller = callerOf(await backend.load(specOf(grpcAt(server.endpoint)), signal));
  const request = bytesRequest(payloadBytes);
  const ours = () => callMany(units, inFlight, () => echoes(caller, request, signal));
  using one = byHand(server.endpoint, 1);
  using four = byHand(server.endpoint, 4);
  // Which baseline is the faster is settled first, so that the ratio is one measurement and not the worse of two.
  const pilot = await compare({
    units,
    rounds: 9,
    ours: () => callMany(units, inFlight, four.call),
    baseline: () => callMany(units, inFlight, one.call),
  });
  const best = pilot.oursUs <= pilot.baselineUs ? four : one;
  const { oursUs, baselineUs } = await compare({
    units,
    rounds,
    ours,
    baseline: () => callMany(units, inFlight, best.call),
  });
  const ratio = baselineUs / oursUs;
  return [
    {
      name: "rpc-grpc/unary",
      ratio,
      bar: ">= 0.9",
      ok: ratio >= 0.9,
      metrics: { callsPerSecond: 1e6 / oursUs },
      baseline: { callsPerSecond: 1e6 / baselineUs, channels: best.channels },
    },
  ];
};

interface ByHand extends Disposable {
  readonly channels: number;
  readonly call: () => Promise<boolean>;
}

function byHand(target: string, channels: number): ByHand {
  const { Process: method } = loadProcessorService();
  const options: ChannelOptions = { "grpc.use_local_subchannel_pool": 1 };
  const clients = Array.from({ length: channels }, () => new Client(target, credentials.createInsecure(), options));
  const message: ProcessRequestMessage = {
    payload: new Uint8Array(payloadBytes).fill(120),
    contentType: "application/octet-stream",
    metadata: {},
    optionsJson: "{}",
    context: {
      execution: { namespace: "default", name: "article-x7k2p", uid: "0b7e6d5f-9c7b-4c1e-8a55-000000000001" },
      step: "count",
      attempt: 1,
      idempotencyKey: "0b7e6d5f-9c7b-4c1e-8a55-000000000001/count",
    },
  };
  let turn = 0;
  const call = () =>
    new Promise<boolean>((resolve, reject) => {
      const client = clients[turn++ % channels];
      client?.makeUnaryRequest<ProcessRequestMessage, ProcessResponseMessage>(
        method.path,
        (value) => method.requestSerialize(value),
        (bytes) => method.responseDeserialize(bytes),
        message,
        { deadline: Date.now() + 30_000 },
        (error, response) => {
          if (error === null) resolve(response?.result?.payload.byteLength === payloadBytes);
          else reject(error);
        },
      );
    });
  return {
    channels,
    call,
    [Symbol.dispose]: () => {
      for (const client of clients) client.close();
    },
  };
}
