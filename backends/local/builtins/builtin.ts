import type { Scheduler } from "../../../engine/clock.ts";
import type { Json, JsonObject } from "../../../engine/payload.ts";
import type { AuthorContext, AuthorRequest, AuthorResponse } from "../author.ts";
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
  /** A larger payload is worked on in a worker thread, so that it does not hold up everybody; in bytes, default 256 KiB. */
  readonly maxInlineBytes?: number;
  /** One call and what comes of it: shown in the docs, and run by a test. */
  readonly example: BuiltinExample;
}

/** What a built-in may use besides its request. */
export interface BuiltinPorts {
  readonly scheduler: Scheduler;
}

export type BuiltinCall = (request: AuthorRequest, context: AuthorContext) => AuthorResponse | Promise<AuthorResponse>;

/** Input and output: a string is text, anything else JSON. */
export interface BuiltinExample {
  readonly options?: JsonObject;
  readonly input: Json;
  readonly output?: Json;
  readonly metadata?: Readonly<Record<string, string>>;
  /** The code that it fails with, instead of an output. */
  readonly error?: string;
}
