import type { GuestResult } from "../guest.ts";
import { GuestCall, maxErrorMessageBytes, undeclaredFailureCode } from "../guest-call.ts";
import type { Answer } from "./host-calls.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8");
const nothing = new Uint8Array();

/** What waPC keeps of one call besides: answers for the guest to fetch, and what the guest has left here. */
export class WapcCall extends GuestCall {
  /** The name of what is called. */
  operation: Uint8Array = nothing;
  #hostResponse = nothing;
  #hostError = nothing;
  #response: { readonly size: number; readonly bytes: Uint8Array } | undefined;
  #guestError: string | undefined;

  /** Of the last host call. */
  get hostResponse(): Uint8Array {
    return this.#hostResponse;
  }

  /** Of the last host call; empty unless that was refused. */
  get hostError(): Uint8Array {
    return this.#hostError;
  }

  /** Keeps what came of a host call until the next one. */
  keep(answer: Answer): void {
    const bytes = encoder.encode(answer.text);
    this.fuel.chargeText(bytes.byteLength);
    this.#hostResponse = answer.kind === "Given" ? bytes : nothing;
    this.#hostError = answer.kind === "Refused" ? bytes : nothing;
  }

  /** Copies it, as the guest frees it next; of one that is too large, only its size is kept. */
  setResponse(pointer: number, length: number): void {
    const bytes = this.memory.slice(pointer, length, "the guest's response");
    const size = bytes.byteLength;
    this.#response = { size, bytes: size > this.request.maxOutputBytes ? nothing : bytes.slice() };
  }

  /** Cut at what a failure may say: it may be a panic, whose text is nobody's choice. */
  setGuestError(pointer: number, length: number): void {
    const bytes = this.memory.slice(pointer, length, "the guest's error");
    this.#guestError = decoder.decode(bytes.subarray(0, maxErrorMessageBytes));
  }

  /** @param status what `__guest_call` gave: 0 for a failure */
  outcome(operation: string, status: number): GuestResult {
    const { maxOutputBytes } = this.request;
    const response = this.#response ?? { size: 0, bytes: nothing };
    const hasOnlyError = this.#response === undefined && this.#guestError !== undefined;
    if (!this.hasFailed && (status === 0 || hasOnlyError)) {
      const message = this.#guestError ?? `the operation ${operation} failed and gave no error`;
      this.setError({ code: undeclaredFailureCode, message: fitting(message), retryable: false });
    }
    if (!this.hasFailed && response.size > maxOutputBytes) return { kind: "TooLarge", bytes: response.size };
    return this.result(() => response.bytes);
  }
}

/** What is no UTF-8 was replaced by what takes three bytes, and so may have grown. */
function fitting(message: string): string {
  const bytes = encoder.encode(message);
  if (bytes.byteLength <= maxErrorMessageBytes) return message;
  return decoder.decode(bytes.subarray(0, maxErrorMessageBytes - 3));
}
