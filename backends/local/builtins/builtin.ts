import type { Scheduler } from "../../../engine/clock.ts";
import type { Json, JsonObject } from "../../../engine/payload.ts";
import type { AuthorContext, AuthorRequest, AuthorResponse } from "../author.ts";
import type { BoundedOutput } from "./bounded-output.ts";
import type { OptionSpecs, Options } from "./options.ts";

/** An operation that is part of Millrace. None reaches the network or the file system. */
export interface Builtin {
  /** `<group>.<operation>`, or a single word. */
  readonly name: string;
  /** One sentence. */
  readonly summary: string;
  readonly options: OptionSpecs;
  /** Checks and compiles the options once; the function that comes back is used for every call with them. */
  prepare(options: Options, ports: BuiltinPorts): BuiltinCall;
  /**
   * A larger payload is worked on in a worker thread, so that it does not hold up everybody; in bytes, default 64 KiB. Below
   * zero: so are the options. To be set so that the worst payload, with the worst options, takes a few milliseconds.
   */
  readonly maxInlineBytes?: number | ((options: Options) => number);
  /** One call and what comes of it: shown in the docs, and run by a test. */
  readonly example: BuiltinExample;
}

/** What a built-in may use besides its request. */
export interface BuiltinPorts {
  readonly scheduler: Scheduler;
}

/**
 * One call. What may come to much more than payload and options is written to `output`, which knows what the Processor may
 * give (`maxOutputSize`). A call that goes over what may be done in this thread is made once more in another: it is to
 * change nothing.
 */
export type BuiltinCall = (
  request: AuthorRequest,
  context: AuthorContext,
  output: BoundedOutput,
) => AuthorResponse | Promise<AuthorResponse>;

/** Input and output: a string is text, anything else JSON. */
export interface BuiltinExample {
  readonly options?: JsonObject;
  readonly input: Json;
  readonly output?: Json;
  readonly metadata?: Readonly<Record<string, string>>;
  /** The code that it fails with, instead of an output. */
  readonly error?: string;
}
