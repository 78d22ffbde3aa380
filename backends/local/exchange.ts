import { inspect } from "node:util";
import { MillraceError } from "../../engine/errors.ts";
import { BytesPayload, type Payload } from "../../engine/payload.ts";
import type { CallContext, ProcessorRequest, ProcessorResponse } from "../../engine/processor.ts";
import type { BackendContext } from "../backend.ts";
import { postable, type WorkerBody } from "../worker-message.ts";
import type { WorkerPool } from "../worker-pool.ts";
import type { Answer, AuthorContext, AuthorRequest } from "./author.ts";
import { OutputOverflow } from "./builtins/bounded-output.ts";

/** An ES module as a worker loads it: the bytes that were verified, not whatever the file holds by then. */
export interface ModuleSource {
  /** The file's URL, with its digest as the query: another content is another module. */
  readonly url: string;
  /** Shared, so that posting it costs nothing. */
  readonly source: SharedArrayBuffer;
  readonly typescript: boolean;
  readonly export: string;
}

/** What a worker is to run. */
export type WorkerTask =
  | { readonly kind: "Load"; readonly module: ModuleSource }
  | { readonly kind: "Module"; readonly module: ModuleSource }
  | { readonly kind: "Builtin"; readonly name: string; readonly maxOutputBytes: number };

/** A context that can be cloned: signal and log go by other ways. */
type PlainContext = Omit<AuthorContext, "signal" | "log">;

/** A call on its way to a worker. */
export interface WorkerCall {
  readonly task: WorkerTask;
  readonly request?: AuthorRequest;
  readonly context?: PlainContext;
}

/** What a worker gives back. */
export type WorkerAnswer =
  | { readonly kind: "Loaded"; readonly exports: readonly string[]; readonly exportType: string }
  | { readonly kind: "Answered"; readonly answer: Answer }
  /** A built-in's output came to so many bytes when it was stopped. */
  | { readonly kind: "Overflowed"; readonly bytes: number }
  /** The module, or its loading, threw; or what it gave is no response. */
  | { readonly kind: "Threw"; readonly message: string };

/** The payload's bytes where they are in memory already. */
export function bytesOf(payload: Payload): Uint8Array | undefined {
  return payload instanceof BytesPayload ? payload.data : undefined;
}

export function authorRequest(request: ProcessorRequest, bytes: Uint8Array): AuthorRequest {
  return {
    payload: bytes,
    contentType: request.payload.contentType,
    metadata: request.metadata,
    options: request.options,
  };
}

/** For code in this thread. */
export function authorContext(context: CallContext): AuthorContext {
  return new InlineContext(context);
}

/** Signal and log are asked for only when they are used: making a signal costs more than most built-ins. */
class InlineContext implements AuthorContext {
  readonly execution: AuthorContext["execution"];
  readonly step: string;
  readonly item?: number;
  readonly attempt: number;
  readonly idempotencyKey: string;
  readonly remainingMs: number;
  readonly traceparent?: string;
  readonly #context: CallContext;

  constructor(context: CallContext) {
    this.execution = context.execution;
    this.step = context.step;
    if (context.item !== undefined) this.item = context.item;
    this.attempt = context.attempt;
    this.idempotencyKey = context.idempotencyKey;
    this.remainingMs = context.timeoutMs;
    if (context.traceparent !== undefined) this.traceparent = context.traceparent;
    this.#context = context;
  }

  get secrets(): Readonly<Record<string, string>> {
    return this.#context.secrets;
  }

  get log(): (text: string) => void {
    const { log } = this.#context;
    return (text) => log(loggedText(text));
  }

  get signal(): AbortSignal {
    return this.#context.signal;
  }
}

/** What somebody logs, who may give anything. */
export function loggedText(value: unknown): string {
  return typeof value === "string" ? value : inspect(value);
}

function plainContext(context: CallContext, remainingMs: number): PlainContext {
  return {
    execution: context.execution,
    step: context.step,
    attempt: context.attempt,
    idempotencyKey: context.idempotencyKey,
    remainingMs,
    secrets: context.secrets,
    ...(context.item === undefined ? {} : { item: context.item }),
    ...(context.traceparent === undefined ? {} : { traceparent: context.traceparent }),
  };
}

/** The same bytes under the same type are the same payload: its digest need not be computed again. */
export function responseOf(answer: Answer, request: ProcessorRequest): ProcessorResponse {
  if (!answer.ok) return { ok: false, error: answer.error, metadata: {} };
  const { payload } = request;
  const isSame = answer.contentType === payload.contentType && answer.bytes === bytesOf(payload);
  return {
    ok: true,
    metadata: answer.metadata,
    payload: isSame ? payload : new BytesPayload(answer.bytes, answer.contentType),
  };
}

/** One call as a job: its payload is copied, and its time goes on, when a worker takes it, not while it waits. @throws OutputOverflow, MillraceError */
export async function runInWorker(
  pool: WorkerPool,
  key: string,
  task: WorkerTask,
  call: {
    readonly request: ProcessorRequest;
    readonly bytes: Uint8Array;
    readonly context: BackendContext;
    /** The Processor's name. */
    readonly processor: string;
  },
): Promise<Answer> {
  const { request, bytes, context, processor } = call;
  const { time, signal, log } = context;
  const job = (): WorkerBody => {
    const { bytes: payload, transfer } = postable(bytes);
    const body: WorkerCall = {
      task,
      request: authorRequest(request, payload),
      context: plainContext(context, time?.resume() ?? context.timeoutMs),
    };
    return { body, transfer };
  };
  const owner = { namespace: context.execution.namespace, processor };
  time?.pause();
  const given = (await pool.run(job, signal, { key, owner, log })) as WorkerAnswer;
  if (given.kind === "Answered") return given.answer;
  if (given.kind === "Overflowed") throw new OutputOverflow(given.bytes);
  throw new MillraceError(
    "ProcessorCrashed",
    given.kind === "Threw" ? given.message : "a worker answered another question",
  );
}
