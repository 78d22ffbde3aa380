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
  readonly target: string;
  readonly port: number;
  /** Drops all connections at once. */
  kill(): void;
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

/** A real gRPC server on loopback, in this process. */
export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcTestServer> {
  const server = new Server({ "grpc.max_receive_message_length": -1, ...options.options });
  const service = loadProcessorService();
  const { describe } = options;
  server.addService(service as unknown as ServiceDefinition, {
    Process: (call: ProcessCall, callback: sendUnaryData<ProcessResponseMessage>) => {
      void answer(options.process, call, callback);
    },
    Describe: (_call: unknown, callback: sendUnaryData<DescribeResponseMessage>) => {
      if (describe === undefined) callback({ code: status.UNIMPLEMENTED, details: "no Describe here" });
      else callback(null, describe);
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${options.port ?? 0}`, ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  return {
    target: `127.0.0.1:${port}`,
    port,
    kill: () => server.forceShutdown(),
    [Symbol.asyncDispose]: async () => server.forceShutdown(),
  };
}

/** A result with the same bytes. */
export function echoed(call: ProcessCall): ProcessResponseMessage {
  const { payload, contentType, metadata } = call.request;
  return { result: { payload, contentType }, metadata };
}
