import { MillraceError } from "../../../engine/errors.ts";
import { maxMetadataBytes } from "../../../engine/metadata.ts";
import { binaryType } from "../../../engine/payload.ts";
import type { ProcessorError } from "../../../engine/processor.ts";
import type { AbiName } from "./contract.ts";
import type { Fuel } from "./fuel.ts";
import type { GuestHost, GuestRequest, GuestResult } from "./guest.ts";
import { GuestMemory } from "./guest-memory.ts";
import { tooMuch } from "./refusals.ts";

/** What a guest may set, in bytes: the host's memory is not the guest's to fill. */
export const maxContentTypeBytes = 256;
export const maxErrorCodeBytes = 256;
export const maxErrorMessageBytes = 16 * 1024;
/** Of a name that is looked up: Kubernetes gives none more than 253 characters. */
export const maxNameBytes = 253;
/** The code of a failure that a guest declared without one: by a null pointer, or by a text alone. */
export const undeclaredFailureCode = "Failed";
/** Of one text that is logged; the rest is cut. */
const maxLogTextBytes = 128 * 1024;

const logDecoder = new TextDecoder("utf-8");

/** What a guest can read of its call as text. */
export type GuestText = "contentType" | "options" | "metadata" | "context";

/**
 * The state of one call, the same for every ABI: what was asked, and what the guest has set so far, each within its limit. An ABI
 * only carries it over.
 */
export class GuestCall {
  readonly abi: AbiName;
  readonly request: GuestRequest;
  readonly host: GuestHost;
  #memory: GuestMemory | undefined;
  #fuel: Fuel | undefined;
  /** JSON that was asked for before. */
  readonly #texts = new Map<GuestText, string>();
  #contentType: string | undefined;
  readonly #metadata = new Map<string, string>();
  #metadataBytes = 0;
  #error: ProcessorError | undefined;

  constructor(abi: AbiName, request: GuestRequest, host: GuestHost) {
    this.abi = abi;
    this.request = request;
    this.host = host;
  }

  /** That of the instance that serves the call. */
  get memory(): GuestMemory {
    return attached(this.#memory);
  }

  /** That of the same instance: for what the host does beside copying to and from its memory. */
  get fuel(): Fuel {
    return attached(this.#fuel);
  }

  /** To be called before any code of the guest runs. */
  attach(memory: WebAssembly.Memory, fuel: Fuel): void {
    this.#fuel = fuel;
    this.#memory = new GuestMemory(this.abi, memory, fuel);
  }

  /** Options, metadata and context as JSON on one line, made once, however often a guest asks. */
  text(what: GuestText): string {
    if (what === "contentType") return this.request.contentType;
    const text = this.#texts.get(what) ?? JSON.stringify(this.#told(what));
    this.#texts.set(what, text);
    return text;
  }

  /** Time in whole milliseconds: what a guest reads, and pays for, is not to be longer or shorter by chance. */
  #told(what: Exclude<GuestText, "contentType">): unknown {
    const { context } = this.request;
    return what === "context" ? { ...context, timeoutMs: Math.floor(context.timeoutMs) } : this.request[what];
  }

  secret(name: string): string | undefined {
    return own(this.request.secrets, name);
  }

  /** Of the Processor's `capabilities.config`. */
  config(name: string): string | undefined {
    return own(this.request.capabilities.config, name);
  }

  metadataValue(key: string): string | undefined {
    return own(this.request.metadata, key);
  }

  /** @throws SandboxViolation when the fuel does not suffice */
  log(bytes: Uint8Array): void {
    this.fuel.chargeText(Math.min(bytes.byteLength, maxLogTextBytes));
    this.logPaid(bytes);
  }

  /** What is paid for already. What is no UTF-8 is logged as well as may be: a log is no place to fail at. */
  logPaid(bytes: Uint8Array): void {
    const taken = bytes.subarray(0, maxLogTextBytes);
    this.host.log(logDecoder.decode(taken), bytes.byteLength - taken.byteLength);
  }

  setContentType(contentType: string): void {
    this.#contentType = within(contentType, maxContentTypeBytes, "a content type");
  }

  /** The last value of a key counts. */
  setMetadata(key: string, value: string): void {
    const before = this.#metadata.get(key);
    if (before !== undefined) this.#metadataBytes -= Buffer.byteLength(key) + Buffer.byteLength(before);
    this.#metadataBytes += Buffer.byteLength(key) + Buffer.byteLength(value);
    if (this.#metadataBytes > maxMetadataBytes) throw tooMuch("metadata", this.#metadataBytes, maxMetadataBytes);
    this.#metadata.set(key, value);
  }

  setError(error: ProcessorError): void {
    within(error.code, maxErrorCodeBytes, "an error's code");
    within(error.message, maxErrorMessageBytes, "an error's message");
    this.#error = error;
  }

  get hasFailed(): boolean {
    return this.#error !== undefined;
  }

  /** What came of the call: the failure that was declared, else `output`, which is copied unless it is too large. */
  result(output: () => Uint8Array, defaultContentType: string = binaryType): GuestResult {
    const metadata = Object.fromEntries(this.#metadata);
    if (this.#error !== undefined) return { kind: "Failure", error: this.#error, metadata };
    const bytes = output();
    if (bytes.byteLength > this.request.maxOutputBytes) return { kind: "TooLarge", bytes: bytes.byteLength };
    const contentType = this.#contentType ?? defaultContentType;
    return { kind: "Output", payload: new Uint8Array(bytes), contentType, metadata };
  }
}

function attached<Part>(part: Part | undefined): Part {
  if (part === undefined) throw new MillraceError("Internal", "an import was called before its instance was there");
  return part;
}

function own(texts: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(texts, key) ? texts[key] : undefined;
}

function within(text: string, maxBytes: number, what: string): string {
  const bytes = Buffer.byteLength(text);
  if (bytes > maxBytes) throw tooMuch(what, bytes, maxBytes);
  return text;
}
