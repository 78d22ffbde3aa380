import { Metadata as CallMetadata, type ClientUnaryCall, type ServiceError, status } from "@grpc/grpc-js";
import type { Clock } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import { BytesPayload, binaryType, digestOf } from "../../engine/payload.ts";
import type { CallContext, Intent, ProcessorRequest, ProcessorResponse } from "../../engine/processor.ts";
import type { GrpcEndpoint, LoadedProcessor, ProcessorSpec } from "../backend.ts";
import { type Channel, Channels } from "./channels.ts";
import { checkedGrpcTarget } from "./endpoints.ts";
import { faultError, grpcError } from "./errors.ts";
import { headerNames, isTraceparent } from "./headers.ts";
import type { RpcHost } from "./host.ts";
import { CallsInFlight } from "./in-flight.ts";
import type {
  DescribeResponseMessage,
  ProcessorService,
  ProcessRequestMessage,
  ProcessResponseMessage,
} from "./protocol.ts";

/** How a call is made: what both methods of the service share. */
interface Call<Request, Response> {
  readonly method: {
    readonly path: string;
    readonly requestSerialize: (value: Request) => Buffer;
    readonly responseDeserialize: (bytes: Buffer) => Response;
  };
  readonly request: Request;
  readonly metadata: CallMetadata;
  /** Wall clock, as gRPC wants it. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

/** How long a probe waits for an answer, in milliseconds. */
const probeTimeoutMs = 5000;

/**
 * A processor behind gRPC, called over up to `maxConnections` channels. Connects when it is first called. Rejects as
 * `statusTable` in errors.ts says, and with the signal's reason once that has aborted (the server sees the call cancelled).
 */
export class GrpcProcessor implements LoadedProcessor {
  readonly name: string;
  readonly intent: Intent;
  readonly #endpoint: string;
  readonly #service: ProcessorService;
  readonly #host: RpcHost;
  readonly #clock: Clock;
  readonly #inFlight: CallsInFlight;
  readonly #channels: Channels;
  /** Ends what nobody waits for. */
  readonly #closing = new AbortController();

  /** Throws InvalidInput when the endpoint is no gRPC target. */
  constructor(spec: ProcessorSpec, implementation: GrpcEndpoint, service: ProcessorService, host: RpcHost) {
    const { endpoint, maxConnections } = implementation;
    const target = checkedGrpcTarget(endpoint);
    this.name = spec.name;
    this.intent = spec.intent;
    this.#endpoint = endpoint;
    this.#service = service;
    this.#host = host;
    this.#clock = host.clock;
    this.#inFlight = new CallsInFlight(spec.name);
    const maxReceiveBytes = spec.limits.maxOutputBytes;
    const connected = (channel: Channel) => void this.#identify(channel);
    this.#channels = new Channels({ target, maxConnections, maxReceiveBytes, connected });
  }

  /** Of name, version and endpoint as Describe gave them over each connection that there is now; empty where one gave no version. */
  get digests(): readonly string[] {
    return this.#channels.digests;
  }

  async process(request: ProcessorRequest, context: CallContext): Promise<ProcessorResponse> {
    const { signal, timeoutMs } = context;
    const endMs = this.#clock.monotonic() + timeoutMs;
    this.#inFlight.enter(signal);
    try {
      const payload = await request.payload.bytes(signal);
      const response = await this.#call({
        method: this.#service.Process,
        request: requestMessage(payload, request, context),
        metadata: callMetadata(context),
        deadlineMs: this.#clock.now() + endMs - this.#clock.monotonic(),
        signal,
      });
      if (response.log !== undefined && response.log.length > 0) context.log(response.log.join("\n"));
      return this.#response(response);
    } catch (error) {
      throw this.#translate(error, endMs - this.#clock.monotonic(), timeoutMs);
    } finally {
      this.#inFlight.leave();
    }
  }

  /** Calls Describe, which a server may leave out. Rejects with InvalidInput when it says another intent than the spec. */
  async probe(signal: AbortSignal): Promise<void> {
    const channel = this.#channels.take();
    const description = await this.#describe(channel, signal).finally(() => this.#channels.giveBack(channel));
    const intent = { INTENT_TRANSFORM: "Transform", INTENT_ANALYZE: "Analyze" }[String(description?.intent)];
    if (intent === undefined || intent === this.intent) return;
    throw new MillraceError(
      "InvalidInput",
      `spec.intent: ${this.intent}, but ${this.#endpoint} describes itself as ${intent}; change one of them`,
    );
  }

  /** Idempotent. Waits for the calls in flight, then closes the connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inFlight.close();
    this.#closing.abort(new MillraceError("Unavailable", `${this.name} is unloaded`));
    this.#channels[Symbol.dispose]();
    this.#host.disposed(this);
  }

  #call<Request, Response>(call: Call<Request, Response>): Promise<Response> {
    const channel = this.#channels.take();
    return unaryCall(channel, call, () => this.#channels.giveBack(channel));
  }

  /**
   * A connection was made: asks what is at its other end. Until it has answered, nothing can be said of it. It does not count
   * as a call: another connection would be opened for the next one.
   */
  async #identify(channel: Channel): Promise<void> {
    try {
      await this.#describe(channel, this.#closing.signal);
    } catch {
      // Then it is not known; the next probe asks again.
    }
  }

  /** Undefined: the server leaves Describe out. */
  async #describe(channel: Channel, signal: AbortSignal): Promise<DescribeResponseMessage | undefined> {
    const { connection } = channel;
    const description = await this.#describeCall(channel, signal);
    // An answer that came over an earlier connection says nothing of this one.
    if (channel.connection === connection) channel.digest = this.#digestOf(description);
    return description;
  }

  #digestOf(description: DescribeResponseMessage | undefined): string | undefined {
    if (description === undefined || description.version === "") return undefined;
    return digestOf(Buffer.from(JSON.stringify([description.name, description.version, this.#endpoint])));
  }

  async #describeCall(channel: Channel, signal: AbortSignal): Promise<DescribeResponseMessage | undefined> {
    try {
      return await unaryCall(channel, {
        method: this.#service.Describe,
        request: {},
        metadata: new CallMetadata(),
        deadlineMs: this.#clock.now() + probeTimeoutMs,
        signal,
      });
    } catch (error) {
      if (isServiceError(error) && error.code === status.UNIMPLEMENTED) return undefined;
      if (isServiceError(error) && error.code === status.DEADLINE_EXCEEDED) {
        throw faultError("NotReached", `${this.#endpoint} did not answer within ${probeTimeoutMs} ms`, error);
      }
      throw this.#translate(error, Number.POSITIVE_INFINITY, probeTimeoutMs);
    }
  }

  #translate(error: unknown, remainingMs: number, timeoutMs: number): unknown {
    if (!isServiceError(error)) return error;
    // gRPC's timer, the server's and that of call.ts go off together: whichever is first, it reads the same.
    if (error.code === status.DEADLINE_EXCEEDED && remainingMs <= deadlineSlackMs) {
      const message = `${this.name} did not answer within its timeout of ${timeoutMs} ms`;
      return new MillraceError("DeadlineExceeded", message, { cause: error });
    }
    const pushback = error.metadata.get("grpc-retry-pushback-ms")[0];
    return grpcError(this.#endpoint, {
      status: error.code,
      details: error.details,
      pushback: typeof pushback === "string" ? pushback : undefined,
      cause: error,
    });
  }

  #response(message: ProcessResponseMessage): ProcessorResponse {
    const { result, error, metadata } = message;
    if (result !== undefined && result !== null) {
      return { ok: true, metadata, payload: new BytesPayload(result.payload, result.contentType || binaryType) };
    }
    if (error === undefined || error === null) {
      throw faultError("Malformed", `${this.#endpoint} answered with neither a result nor an error`);
    }
    const { code, message: text, retryable, retryAfterMs } = error;
    const wait = retryAfterMs === undefined || retryAfterMs === null ? {} : { retryAfterMs };
    return { ok: false, metadata, error: { code, message: text, retryable, ...wait } };
  }
}

/** How far ahead of our own deadline another's timer may go off, in milliseconds. */
const deadlineSlackMs = 20;

function requestMessage(payload: Uint8Array, request: ProcessorRequest, context: CallContext): ProcessRequestMessage {
  return {
    payload,
    contentType: request.payload.contentType,
    metadata: request.metadata,
    optionsJson: JSON.stringify(request.options),
    context: {
      execution: context.execution,
      step: context.step,
      attempt: context.attempt,
      idempotencyKey: context.idempotencyKey,
      ...(context.item === undefined ? {} : { item: context.item }),
    },
    secrets: context.secrets,
  };
}

function callMetadata(context: CallContext): CallMetadata {
  const metadata = new CallMetadata();
  if (isTraceparent(context.traceparent)) metadata.set(headerNames.traceparent, context.traceparent);
  return metadata;
}

/**
 * Rejects with grpc-js's error, or the signal's reason.
 *
 * @param ended called when the call is over, which may be later than the rejection
 */
function unaryCall<Request, Response>(
  channel: Channel,
  call: Call<Request, Response>,
  ended?: () => void,
): Promise<Response> {
  const { method, signal } = call;
  return new Promise((resolve, reject) => {
    let running: ClientUnaryCall | undefined;
    const onAbort = () => {
      reject(signal.reason);
      running?.cancel();
    };
    const release = () => {
      ended?.();
      signal.removeEventListener("abort", onAbort);
    };
    if (signal.aborted) {
      release();
      return reject(signal.reason);
    }
    signal.addEventListener("abort", onAbort);
    try {
      running = channel.client.makeUnaryRequest<Request, Response>(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        call.request,
        call.metadata,
        { deadline: call.deadlineMs },
        (error, response) => {
          release();
          if (error !== null) reject(error);
          else if (response === undefined) reject(new Error("grpc-js gave neither an error nor a response"));
          else resolve(response);
        },
      );
    } catch (thrown) {
      // Then there is no call, and the callback is never called.
      release();
      reject(thrown);
    }
  });
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && typeof error.code === "number" && "details" in error;
}
