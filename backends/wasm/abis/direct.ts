import { maxMetadataBytes } from "../../../engine/metadata.ts";
import type { Abi, GuestExports, GuestFunction } from "./abi.ts";
import { type AbiContract, type } from "./contract.ts";
import type { GuestResult } from "./guest.ts";
import {
  GuestCall,
  type GuestText,
  maxContentTypeBytes,
  maxErrorCodeBytes,
  maxErrorMessageBytes,
  maxNameBytes,
} from "./guest-call.ts";
import { returned } from "./guest-exit.ts";
import { NoMemoryGiven } from "./traps.ts";

/**
 * The Direct ABI, described for authors in `docs/wasm-authors.md`. Pointers and lengths are unsigned 32-bit. A reading import
 * takes a buffer and its capacity, writes what fits and returns the whole length: capacity 0 asks for the length alone.
 */
const contract: AbiContract = {
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
  initializers: ["_initialize"],
};

/** See {@link contract}. */
export const directAbi: Abi = {
  contract,
  begin: (request, host) => new GuestCall(contract.name, request, host),
  imports: (current) => ({ millrace: functions(current) }),
  invoke,
  probe: (_call, exports) => void allocate(exports, 1),
};

function functions(current: () => GuestCall): Record<string, (...parameters: number[]) => unknown> {
  const reader = (what: GuestText) => (pointer: number, capacity: number) =>
    current().memory.writeText(current().text(what), pointer, capacity);
  return {
    content_type: reader("contentType"),
    options: reader("options"),
    metadata: reader("metadata"),
    context: reader("context"),
    metadata_value: (key, keyLength, pointer, capacity) => {
      const call = current();
      const name = call.memory.text(key, keyLength, maxMetadataBytes, "a metadata key");
      return readOwn(call, call.metadataValue(name), pointer, capacity);
    },
    secret: (name, nameLength, pointer, capacity) => {
      const call = current();
      const known = call.memory.text(name, nameLength, maxNameBytes, "a secret's name");
      return readOwn(call, call.secret(known), pointer, capacity);
    },
    log: (pointer, length) => current().log(current().memory.slice(pointer, length, "a text to log")),
    set_content_type: (pointer, length) => setContentType(current(), pointer, length),
    set_metadata: (key, keyLength, value, valueLength) => setMetadata(current(), key, keyLength, value, valueLength),
    set_error: (code, codeLength, message, messageLength, retryable) =>
      setError(current(), code, codeLength, message, messageLength, retryable),
  };
}

function readOwn(call: GuestCall, value: string | undefined, pointer = 0, capacity = 0): number {
  return value === undefined ? -1 : call.memory.writeText(value, pointer, capacity);
}

function setContentType(call: GuestCall, pointer = 0, length = 0): void {
  call.setContentType(call.memory.text(pointer, length, maxContentTypeBytes, "a content type"));
}

function setMetadata(call: GuestCall, key = 0, keyLength = 0, value = 0, valueLength = 0): void {
  const name = call.memory.text(key, keyLength, maxMetadataBytes, "a metadata key");
  call.setMetadata(name, call.memory.text(value, valueLength, maxMetadataBytes, "a metadata value"));
}

function setError(call: GuestCall, code = 0, codeLength = 0, message = 0, messageLength = 0, retryable = 0): void {
  call.setError({
    code: call.memory.text(code, codeLength, maxErrorCodeBytes, "an error's code"),
    message: call.memory.text(message, messageLength, maxErrorMessageBytes, "an error's message"),
    retryable: retryable !== 0,
  });
}

function invoke(call: GuestCall, exports: GuestExports, entrypoint: string): GuestResult {
  const { payload } = call.request;
  const pointer = payload.byteLength === 0 ? 0 : place(call, exports, payload);
  const process = exports[entrypoint] as (pointer: number, length: number) => bigint;
  const packed = BigInt.asUintN(64, returned(() => process(pointer, payload.byteLength)) ?? 0n);
  return call.result(() => call.memory.slice(Number(packed >> 32n), Number(packed & 0xffff_ffffn), "the result"));
}

/** Copies the payload into memory that the guest allocated. */
function place(call: GuestCall, exports: GuestExports, payload: Uint8Array): number {
  const pointer = allocate(exports, payload.byteLength);
  call.memory.write(payload, pointer, "what millrace_alloc gave");
  return pointer;
}

function allocate(exports: GuestExports, bytes: number): number {
  const pointer = (exports.millrace_alloc as GuestFunction)(bytes) >>> 0;
  if (pointer === 0) throw new NoMemoryGiven(`millrace_alloc(${bytes}) gave a null pointer`);
  return pointer;
}
