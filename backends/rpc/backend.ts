import type { Clock } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import type { Backend, BackendOptions, LoadedProcessor, ProcessorSpec } from "../backend.ts";
import type { RpcHost } from "./host.ts";
import type { ProcessorService } from "./protocol.ts";

/**
 * Processors behind gRPC (`millrace.processor.v1.Processor`) and HTTP. `load` refuses a bad endpoint with InvalidInput and
 * connects to nothing: a service may come later, and `probe` tells whether it is there.
 */
export function createRpcBackend(options: BackendOptions): Backend {
  return new RpcBackend(options.ports.clock);
}

class RpcBackend implements Backend {
  readonly kind = "RPC";
  readonly #host: RpcHost;
  readonly #loaded = new Set<LoadedProcessor>();
  #service: ProcessorService | undefined;

  constructor(clock: Clock) {
    this.#host = { clock, disposed: (processor) => this.#loaded.delete(processor) };
  }

  async load(spec: ProcessorSpec, signal: AbortSignal): Promise<LoadedProcessor> {
    signal.throwIfAborted();
    const processor = await this.#open(spec);
    this.#loaded.add(processor);
    return processor;
  }

  /** Idempotent. Disposes every processor it has given out. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#loaded].map((processor) => processor[Symbol.asyncDispose]()));
  }

  /** Each protocol's libraries are imported when they are first needed: together they take a tenth of a second. */
  async #open(spec: ProcessorSpec): Promise<LoadedProcessor> {
    const { implementation } = spec;
    switch (implementation.kind) {
      case "GRPC": {
        const [{ GrpcProcessor }, { loadProcessorService }] = await Promise.all([
          import("./grpc.ts"),
          import("./protocol.ts"),
        ]);
        this.#service ??= loadProcessorService();
        return new GrpcProcessor(spec, implementation, this.#service, this.#host);
      }
      case "HTTP": {
        const { HttpProcessor } = await import("./http.ts");
        return new HttpProcessor(spec, implementation, this.#host);
      }
      default:
        throw new MillraceError(
          "Internal",
          `the RPC backend was asked to load ${spec.name}, which is of kind ${implementation.kind}`,
        );
    }
  }
}
