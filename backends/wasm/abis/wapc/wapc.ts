import type { Abi, GuestExports, GuestFunction } from "../abi.ts";
import { type AbiContract, type } from "../contract.ts";
import type { GuestResult } from "../guest.ts";
import { returned } from "../guest-exit.ts";
import { answer } from "./host-calls.ts";
import { WapcCall } from "./wapc-call.ts";

/** Of a binding, a namespace or an operation, in bytes. */
const maxCalledNameBytes = 256;

/**
 * waPC as its guests speak it (wapc.io), described for authors in `docs/wasm-authors.md`: the entrypoint is the operation that is called, the
 * payload its payload, and everything else is a host call.
 */
const contract: AbiContract = {
  name: "WaPC",
  imports: {
    wapc: {
      __guest_request: type("i32 i32", ""),
      __guest_response: type("i32 i32", ""),
      __guest_error: type("i32 i32", ""),
      __host_call: type("i32 i32 i32 i32 i32 i32 i32 i32", "i32"),
      __host_response_len: type("", "i32"),
      __host_response: type("i32", ""),
      __host_error_len: type("", "i32"),
      __host_error: type("i32", ""),
      __console_log: type("i32 i32", ""),
    },
  },
  exports: { memory: "memory", __guest_call: type("i32 i32", "i32") },
  entrypoint: "operation",
  // In the order of waPC's own hosts.
  initializers: ["_start", "wapc_init", "_initialize"],
};

/** See {@link contract}. */
export const wapcAbi: Abi<WapcCall> = {
  contract,
  begin: (request, host) => new WapcCall(contract.name, request, host),
  imports: (current) => ({ wapc: functions(current) }),
  invoke,
};

function functions(current: () => WapcCall): Record<string, (...parameters: number[]) => unknown> {
  return {
    __guest_request: (operation = 0, payload = 0) => giveRequest(current(), operation, payload),
    __guest_response: (pointer = 0, length = 0) => current().setResponse(pointer, length),
    __guest_error: (pointer = 0, length = 0) => current().setGuestError(pointer, length),
    __host_call: (...parameters) => callHost(current(), parameters),
    __host_response_len: () => current().hostResponse.byteLength,
    __host_response: (pointer = 0) => current().memory.write(current().hostResponse, pointer, "the host's response"),
    __host_error_len: () => current().hostError.byteLength,
    __host_error: (pointer = 0) => current().memory.write(current().hostError, pointer, "the host's error"),
    __console_log: (pointer = 0, length = 0) => current().log(current().memory.slice(pointer, length, "a text to log")),
  };
}

function giveRequest(call: WapcCall, operation: number, payload: number): void {
  call.memory.write(call.operation, operation, "the operation's name");
  call.memory.write(call.request.payload, payload, "the payload");
}

/** `(binding, namespace, operation, payload) → whether it went well`, each a pointer and a length. */
function callHost(call: WapcCall, parameters: readonly number[]): number {
  const [bindingAt = 0, bindingLength = 0, namespaceAt = 0, namespaceLength = 0, ...rest] = parameters;
  const [operationAt = 0, operationLength = 0, payloadAt = 0, payloadLength = 0] = rest;
  const name = (pointer: number, length: number, what: string) =>
    call.memory.text(pointer, length, maxCalledNameBytes, what);
  const called = {
    binding: name(bindingAt, bindingLength, "a host call's binding"),
    namespace: name(namespaceAt, namespaceLength, "a host call's namespace"),
    operation: name(operationAt, operationLength, "a host call's operation"),
  };
  const answered = answer(call, called, payloadAt, payloadLength);
  call.keep(answered);
  return answered.kind === "Given" ? 1 : 0;
}

function invoke(call: WapcCall, exports: GuestExports, entrypoint: string): GuestResult {
  call.operation = Buffer.from(entrypoint);
  const run = exports.__guest_call as GuestFunction;
  const status = returned(() => run(call.operation.byteLength, call.request.payload.byteLength)) ?? 1;
  return call.outcome(entrypoint, status);
}
