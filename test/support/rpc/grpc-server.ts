import {
  Server,
  ServerCredentials,
  type ServerOptions,
  type ServerUnaryCall,
  type ServiceDefinition,
  type StatusObject,
  type sendUnaryData,
  status,
} from "@grpc/grpc-js";
import {
  type DescribeResponseMessage,
  loadProcessorService,
  type ProcessRequestMessage,
  type ProcessResponseMessage,
} from "../../../backends/rpc/protocol.ts";
import { startTcpServer } from "./tcp-server.ts";

export type ProcessCall = ServerUnaryCall<ProcessRequestMessage, ProcessResponseMessage>;

export interface GrpcServerOptions {
  /** Answers one call; what it throws is answered as a status. */
  readonly process: (call: ProcessCall) => Promise<ProcessResponseMessage> | ProcessResponseMessage;
  readonly describe?: DescribeResponseMessage;
  /** Default: any free one. */
  readonly port?: number;
  readonly options?: ServerOptions;
}

export interface GrpcTestServer extends AsyncDisposable {
  readonly endpoint: string;
  readonly port: number;
  /** Connections that are open now. */
  readonly connections: () => number;
  /** Cuts the connection that a call came over. */
  cut(call: ProcessCall): void;
}

/** A gRPC status other than OK. */
export class GrpcStatus extends Error {
  readonly response: Partial<StatusObject>;

  constructor(response: Partial<StatusObject>) {
    super(response.details ?? "");
    this.response = response;
  }
}

async function answer(
  process: GrpcServerOptions["process"],
  call: ProcessCall,
  callback: sendUnaryData<ProcessResponseMessage>,
): Promise<void> {
  try {
    callback(null, await process(call));
  } catch (error) {
    if (error instanceof GrpcStatus) callback(error.response);
    else callback(error instanceof Error ? error : new Error(String(error)));
  }
}

/** A real gRPC server on loopback, in this process. Disposing it drops all connections at once. */
export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcTestServer> {
  const grpc = new Server({ "grpc.max_receive_message_length": -1, ...options.options });
  grpc.addService(loadProcessorService() as unknown as ServiceDefinition, {
    Process: (call: ProcessCall, callback: sendUnaryData<ProcessResponseMessage>) => {
      void answer(options.process, call, callback);
    },
    Describe: (_call: unknown, callback: sendUnaryData<DescribeResponseMessage>) => {
      if (options.describe === undefined) callback({ code: status.UNIMPLEMENTED, details: "no Describe here" });
      else callback(null, options.describe);
    },
  });
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const tcp = await startTcpServer((socket) => injector.injectConnection(socket), options.port);
  return {
    endpoint: `127.0.0.1:${tcp.port}`,
    port: tcp.port,
    connections: () => tcp.sockets.size,
    cut: (call) => {
      for (const socket of tcp.sockets) {
        if (call.getPeer() === `${socket.remoteAddress}:${socket.remotePort}`) socket.destroy();
      }
    },
    [Symbol.asyncDispose]: async () => {
      await tcp[Symbol.asyncDispose]();
      injector.destroy();
      grpc.forceShutdown();
    },
  };
}

/** A result with the same bytes. */
export function echoed(call: ProcessCall): ProcessResponseMessage {
  const { payload, contentType, metadata } = call.request;
  return { result: { payload, contentType }, metadata };
}
