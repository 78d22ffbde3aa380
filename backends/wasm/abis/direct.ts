import { MillraceError } from "../../../engine/errors.ts";
import { type Metadata, maxMetadataBytes } from "../../../engine/metadata.ts";
import { binaryType, type JsonObject } from "../../../engine/payload.ts";
import type { ExecutionIdentity, ProcessorError } from "../../../engine/processor.ts";
import type { AbiContract } from "../abi.ts";
import type { FunctionType, ValueType } from "../binary.ts";
import { startExport } from "../growth.ts";
import { NoMemoryGiven, translateTrap } from "../traps.ts";

function type(params: string, results: string): FunctionType {
  const split = (list: string) => (list === "" ? [] : (list.split(" ") as ValueType[]));
  return { params: split(params), results: split(results) };
}

/**
 * The Direct ABI, described for authors in `docs/wasm.md`. Pointers and lengths are unsigned 32-bit. A reading import
 * takes a buffer and its capacity, writes what fits and returns the whole length: capacity 0 asks for the length alone.
 */
export const directContract: AbiContract = {
  name: "Direct",
  imports: {
    millrace: {
      content_type: type("i32 i32", "i32"),
      options: type("i32 i32", "i32"),
      metadata: type("i32 i32", "i32"),
      metadata_value: type("i32 i32 i32 i32", "i32"),
      context: type("i32 i32", "i32"),
      secret: type("i32 i32 i32 i32", "i32"),
      log: type("i32 i32", ""),
      set_content_type: type("i32 i32", ""),
      set_metadata: type("i32 i32 i32 i32", ""),
      set_error: type("i32 i32 i32 i32 i32", ""),
    },
  },
  exports: { memory: "memory", millrace_alloc: type("i32", "i32") },
  entrypoint: type("i32 i32", "i64"),
  optionalExports: { _initialize: type("", "") },
};

/** One call, as plain data: it crosses to the worker by structured clone. */
export interface DirectRequest {
  readonly payload: Uint8Array;
  readonly contentType: string;
  readonly metadata: Metadata;
  readonly options: JsonObject;
  readonly context: DirectContext;
  readonly secrets: Readonly<Record<string, string>>;
  /** A larger result is not copied out; its size is reported instead. */
  readonly maxOutputBytes: number;
}

/** What `millrace.context` gives, as JSON. */
export interface DirectContext {
  readonly execution: ExecutionIdentity;
  readonly step: string;
  readonly item?: number;
  readonly attempt: number;
  readonly idempotencyKey: string;
  /** What was left when the call started, in milliseconds. */
  readonly timeoutMs: number;
  readonly traceparent?: string;
}

export type DirectResult =
  | {
      readonly kind: "Output";
      readonly payload: Uint8Array<ArrayBuffer>;
      readonly contentType: string;
      readonly metadata: Metadata;
    }
  | { readonly kind: "Failure"; readonly error: ProcessorError; readonly metadata: Metadata }
  | { readonly kind: "TooLarge"; readonly bytes: number };

/** What a guest may set, in bytes: the host's memory is not the guest's to fill. */
const maxContentTypeBytes = 256;
const maxErrorCodeBytes = 256;
const maxErrorMessageBytes = 16 * 1024;
/** A Kubernetes name has at most 253 characters. */
const maxSecretNameBytes = 253;
/** Of one text that is logged; the rest is cut. */
const maxLogTextBytes = 128 * 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const logDecoder = new TextDecoder("utf-8");

/** Takes what a guest logs, `cutBytes` being what was left out at the text's end. */
export type DirectLog = (text: string, cutBytes?: number) => void;

/** The guest's side of one instance, its types checked when the module was admitted. */
interface DirectExports {
  readonly memory: WebAssembly.Memory;
  readonly millrace_alloc: (bytes: number) => number;
  readonly [startExport]?: () => void;
  readonly _initialize?: () => void;
  readonly [entrypoint: string]: unknown;
}

/**
 * An admitted module, callable in this thread; each call gets an instance of its own. The import object is made once:
 * calls are synchronous, so that at most one instance is alive to use it.
 */
export class DirectModule {
  readonly #module: WebAssembly.Module;
  readonly #entrypoint: string;
  readonly #maxMemoryBytes: number;
  readonly #imports: WebAssembly.Imports;
  #call: DirectCall | undefined;

  constructor(module: WebAssembly.Module, entrypoint: string, maxMemoryBytes: number) {
    this.#module = module;
    this.#entrypoint = entrypoint;
    this.#maxMemoryBytes = maxMemoryBytes;
    this.#imports = { millrace: this.#functions() };
  }

  /**
   * Runs to the end in this thread: a module that spins is stopped only by ending the thread.
   * @throws ProcessorCrashed for traps and broken rules of the ABI, SandboxViolation for memory and stack, PayloadTooLarge for metadata.
   */
  call(request: DirectRequest, log: DirectLog): DirectResult {
    const call = new DirectCall(request, log);
    this.#call = call;
    let instance: WebAssembly.Instance | undefined;
    try {
      instance = new WebAssembly.Instance(this.#module, this.#imports);
      return call.run(instance.exports as unknown as DirectExports, this.#entrypoint);
    } catch (thrown) {
      throw translateTrap(thrown, instance, this.#maxMemoryBytes);
    } finally {
      this.#call = undefined;
    }
  }

  get #current(): DirectCall {
    if (this.#call === undefined) throw new MillraceError("Internal", "a WASM module called back outside of a call");
    return this.#call;
  }

  #functions(): Record<string, (...parameters: number[]) => unknown> {
    return {
      content_type: (pointer, capacity) => this.#current.read("contentType", pointer, capacity),
      options: (pointer, capacity) => this.#current.read("options", pointer, capacity),
      metadata: (pointer, capacity) => this.#current.read("metadata", pointer, capacity),
      metadata_value: (key, keyLength, pointer, capacity) =>
        this.#current.readMetadataValue(key, keyLength, pointer, capacity),
      context: (pointer, capacity) => this.#current.read("context", pointer, capacity),
      secret: (name, nameLength, pointer, capacity) => this.#current.readSecret(name, nameLength, pointer, capacity),
      log: (pointer, length) => this.#current.log(pointer, length),
      set_content_type: (pointer, length) => this.#current.setContentType(pointer, length),
      set_metadata: (key, keyLength, value, valueLength) =>
        this.#current.setMetadata(key, keyLength, value, valueLength),
      set_error: (code, codeLength, message, messageLength, retryable) =>
        this.#current.setError(code, codeLength, message, messageLength, retryable),
    };
  }
}

/** The state of one call: what was asked, and what the guest has set so far. */
class DirectCall {
  readonly #request: DirectRequest;
  readonly #log: DirectLog;
  #memory: WebAssembly.Memory | undefined;
  #contentType: string | undefined;
  readonly #metadata = new Map<string, string>();
  #metadataBytes = 0;
  #error: ProcessorError | undefined;

  constructor(request: DirectRequest, log: DirectLog) {
    this.#request = request;
    this.#log = log;
  }

  run(exports: DirectExports, entrypoint: string): DirectResult {
    this.#memory = exports.memory;
    exports[startExport]?.();
    exports._initialize?.();
    const { payload } = this.#request;
    const pointer = payload.byteLength === 0 ? 0 : this.#place(exports, payload);
    const process = exports[entrypoint] as (pointer: number, length: number) => bigint;
    const packed = BigInt.asUintN(64, process(pointer, payload.byteLength));
    const metadata = Object.fromEntries(this.#metadata);
    if (this.#error !== undefined) return { kind: "Failure", error: this.#error, metadata };
    const length = Number(packed & 0xffff_ffffn);
    const bytes = this.#slice(Number(packed >> 32n), length, "the result");
    if (length > this.#request.maxOutputBytes) return { kind: "TooLarge", bytes: length };
    return { kind: "Output", payload: bytes.slice(), contentType: this.#contentType ?? binaryType, metadata };
  }

  read(what: "contentType" | "options" | "metadata" | "context", pointer: number, capacity: number): number {
    const value = this.#request[what];
    return this.#write(typeof value === "string" ? value : JSON.stringify(value), pointer, capacity);
  }

  readMetadataValue(key: number, keyLength: number, pointer: number, capacity: number): number {
    const name = this.#text(key, keyLength, maxMetadataBytes, "a metadata key");
    return this.#readOwn(this.#request.metadata, name, pointer, capacity);
  }

  readSecret(name: number, nameLength: number, pointer: number, capacity: number): number {
    const known = this.#text(name, nameLength, maxSecretNameBytes, "a secret's name");
    return this.#readOwn(this.#request.secrets, known, pointer, capacity);
  }

  /** What is no UTF-8 is logged as well as may be: a log is no place to fail at. */
  log(pointer: number, length: number): void {
    const bytes = this.#slice(pointer, length, "a text to log");
    const taken = bytes.subarray(0, maxLogTextBytes);
    this.#log(logDecoder.decode(taken), bytes.byteLength - taken.byteLength);
  }

  setContentType(pointer: number, length: number): void {
    this.#contentType = this.#text(pointer, length, maxContentTypeBytes, "a content type");
  }

  setMetadata(key: number, keyLength: number, value: number, valueLength: number): void {
    const name = this.#text(key, keyLength, maxMetadataBytes, "a metadata key");
    const text = this.#text(value, valueLength, maxMetadataBytes, "a metadata value");
    const before = this.#metadata.get(name);
    if (before !== undefined) this.#metadataBytes -= Buffer.byteLength(name) + Buffer.byteLength(before);
    this.#metadataBytes += (keyLength >>> 0) + (valueLength >>> 0);
    if (this.#metadataBytes > maxMetadataBytes) throw tooMuch("metadata", this.#metadataBytes, maxMetadataBytes);
    this.#metadata.set(name, text);
  }

  setError(code: number, codeLength: number, message: number, messageLength: number, retryable: number): void {
    this.#error = {
      code: this.#text(code, codeLength, maxErrorCodeBytes, "an error's code"),
      message: this.#text(message, messageLength, maxErrorMessageBytes, "an error's message"),
      retryable: retryable !== 0,
    };
  }

  /** Copies the payload into memory that the guest allocated. */
  #place(exports: DirectExports, payload: Uint8Array): number {
    const pointer = exports.millrace_alloc(payload.byteLength) >>> 0;
    if (pointer === 0) {
      throw new NoMemoryGiven(`millrace_alloc(${payload.byteLength}) gave a null pointer`);
    }
    this.#slice(pointer, payload.byteLength, "what millrace_alloc gave").set(payload);
    return pointer;
  }

  #readOwn(texts: Readonly<Record<string, string>>, key: string, pointer: number, capacity: number): number {
    const value = Object.hasOwn(texts, key) ? texts[key] : undefined;
    return value === undefined ? -1 : this.#write(value, pointer, capacity);
  }

  #write(text: string, pointer: number, capacity: number): number {
    const bytes = encoder.encode(text);
    const target = this.#slice(pointer, capacity >>> 0, "a buffer to read into");
    target.set(bytes.byteLength <= target.byteLength ? bytes : bytes.subarray(0, target.byteLength));
    return bytes.byteLength;
  }

  #text(pointer: number, length: number, maxBytes: number, what: string): string {
    if (length >>> 0 > maxBytes) throw tooMuch(what, length >>> 0, maxBytes);
    try {
      return decoder.decode(this.#slice(pointer, length, what));
    } catch (thrown) {
      if (thrown instanceof MillraceError) throw thrown;
      throw brokenRule(`${what} is not UTF-8`);
    }
  }

  /** The guest's memory from `pointer` on, both taken as unsigned; never beyond its end. */
  #slice(pointer: number, length: number, what: string): Uint8Array<ArrayBuffer> {
    if (this.#memory === undefined) throw new MillraceError("Internal", "an import was called before run");
    const start = pointer >>> 0;
    const size = length >>> 0;
    const { buffer } = this.#memory;
    if (start + size > buffer.byteLength) {
      throw brokenRule(
        `${what} lies outside of the memory: ${size} bytes at ${start}, the memory has ${buffer.byteLength}`,
      );
    }
    return new Uint8Array(buffer, start, size);
  }
}

function brokenRule(what: string): MillraceError {
  return new MillraceError("ProcessorCrashed", `The WASM module broke the rules of ABI Direct: ${what}.`);
}

function tooMuch(what: string, bytes: number, maxBytes: number): MillraceError {
  return new MillraceError("PayloadTooLarge", `${what}: ${bytes} bytes, over the limit of ${maxBytes} bytes`);
}
