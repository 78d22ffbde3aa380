import { MillraceError } from "../../../../engine/errors.ts";
import type { Abi, GuestExports, Kept } from "../abi.ts";
import { type AbiContract, type } from "../contract.ts";
import type { GuestLimits, GuestResult } from "../guest.ts";
import { undeclaredFailureCode } from "../guest-call.ts";
import { returned } from "../guest-exit.ts";
import { heldGlobal } from "../host-exports.ts";
import { ExtismCall } from "./extism-call.ts";
import { request } from "./http.ts";
import { Kernel, type KernelNumber } from "./kernel.ts";
import { configValue, reservedName, say } from "./said.ts";
import { Variables } from "./variables.ts";

const hostModule = "extism:host/env";

/** Of a name of a variable or of configuration. */
const maxNameBytes = 1024;

/** Extism's numbers of levels: trace 0, debug 1, info 2, warn 3, error 4. What is below is not logged; PDKs ask before they write. */
const logLevel = 2;

/**
 * The ABI of Extism, for modules that were built with any of its PDKs: https://extism.org/docs/concepts/pdk. All addresses are those of
 * the kernel's memory, which is neither the guest's nor the host's own.
 */
const contract: AbiContract = {
  name: "Extism",
  mark: hostModule,
  imports: {
    [hostModule]: {
      alloc: type("i64", "i64"),
      free: type("i64", ""),
      length: type("i64", "i64"),
      length_unsafe: type("i64", "i64"),
      load_u8: type("i64", "i32"),
      load_u64: type("i64", "i64"),
      store_u8: type("i64 i32", ""),
      store_u64: type("i64 i64", ""),
      input_offset: type("", "i64"),
      input_length: type("", "i64"),
      input_load_u8: type("i64", "i32"),
      input_load_u64: type("i64", "i64"),
      output_set: type("i64 i64", ""),
      error_set: type("i64", ""),
      error_get: type("", "i64"),
      config_get: type("i64", "i64"),
      var_get: type("i64", "i64"),
      var_set: type("i64 i64", ""),
      http_request: type("i64 i64", "i64"),
      http_status_code: type("", "i32"),
      http_headers: type("", "i64"),
      log_trace: type("i64", ""),
      log_debug: type("i64", ""),
      log_info: type("i64", ""),
      log_warn: type("i64", ""),
      log_error: type("i64", ""),
      get_log_level: type("", "i32"),
    },
  },
  mends: {
    "extism:host/user":
      "Millrace has no host functions of your own: take what the module needs from config, its input or its options, or ask a service by http_request.",
  },
  exports: { memory: "memory" },
  entrypoint: type("", "i32"),
  // Extism's own hosts call one of the first two, and prefer now this, now that; the first calls the second.
  initializers: [
    "_initialize",
    { name: "__wasm_call_ctors", type: type("", ""), unless: "_initialize" },
    { name: "hs_init", type: type("i32 i32", "") },
  ],
};

/** See {@link contract}. */
export const extismAbi: Abi<ExtismCall> = {
  contract,
  begin: (asked, host) => new ExtismCall(asked, host),
  // What is imported leads to a kernel, which is kept.
  imports: () => ({}),
  keep: (current, limits) => new ExtismKept(current, limits),
  invoke,
};

/** A kernel and what leads to it for modules to import. */
interface Importable {
  readonly kernel: Kernel;
  readonly imports: WebAssembly.Imports;
}

/** A kernel, which is made anew only when it has grown, as that takes as long as a short call; and the variables of the instance. */
class ExtismKept implements Kept<ExtismCall> {
  readonly #module = Kernel.compile();
  readonly #current: () => ExtismCall;
  readonly #limits: GuestLimits;
  readonly #variables = new Variables();
  #importable: Importable | undefined;

  constructor(current: () => ExtismCall, limits: GuestLimits) {
    this.#current = current;
    this.#limits = limits;
  }

  get heldBytes(): number {
    return this.#importable?.kernel.memory.buffer.byteLength ?? 0;
  }

  clear(): void {
    this.#variables.clear();
    if (this.#importable?.kernel.mayBeKept === false) this.#importable = undefined;
  }

  freshImports(): WebAssembly.Imports {
    this.clear();
    this.#importable ??= this.#make();
    return this.#importable.imports;
  }

  begin(call: ExtismCall, exports: GuestExports): void {
    const held = exports[heldGlobal];
    if (this.#importable === undefined || !(held instanceof WebAssembly.Global)) {
      throw new MillraceError("Internal", "a call of Extism's ABI began without an instance that imports its memory");
    }
    const { kernel } = this.#importable;
    kernel.reset();
    call.enter({ kernel, maxMemoryBytes: this.#limits.maxMemoryBytes, held });
  }

  #make(): Importable {
    const kernel = new Kernel(this.#module, (bytes) => this.#current().takeRoom(bytes));
    return {
      kernel,
      imports: { [hostModule]: { ...kernel.functions, ...functions(this.#current, this.#variables) } },
    };
  }
}

type HostFunction = (...parameters: KernelNumber[]) => unknown;

function functions(current: () => ExtismCall, variables: Variables): Record<string, HostFunction> {
  const log = (address = 0n) => current().log(current().block(address, "a text to log"));
  const unheard = () => undefined;
  return {
    output_set: (address = 0n, length = 0n) => current().setOutput(address, length),
    error_set: (address = 0n) => setError(current(), address),
    error_get: () => current().error,
    config_get: (address = 0n) => readConfig(current(), address),
    var_get: (address = 0n) => readVariable(current(), variables, address),
    var_set: (address = 0n, value = 0n) => setVariable(current(), variables, address, value),
    http_request: (address = 0n, body = 0n) => request(current(), address, body),
    http_status_code: () => current().response?.status ?? 0,
    http_headers: () => readHeaders(current()),
    log_trace: unheard,
    log_debug: unheard,
    log_info: log,
    log_warn: log,
    log_error: log,
    get_log_level: () => logLevel,
  };
}

function setError(call: ExtismCall, address: KernelNumber): void {
  call.error = address;
}

function readConfig(call: ExtismCall, address: KernelNumber): KernelNumber {
  return call.place(configValue(call, call.textAt(address, maxNameBytes, "a configuration's name")));
}

function readVariable(call: ExtismCall, variables: Variables, address: KernelNumber): KernelNumber {
  return call.place(variables.get(call.textAt(address, maxNameBytes, "a variable's name")));
}

function setVariable(call: ExtismCall, variables: Variables, address: KernelNumber, value: KernelNumber): void {
  const name = call.textAt(address, maxNameBytes, "a variable's name");
  if (name.startsWith(reservedName)) say(call, name, value);
  else if (value === 0n) variables.delete(name);
  else variables.set(name, call.block(value, "a variable's value"));
}

function readHeaders(call: ExtismCall): KernelNumber {
  return call.response === undefined ? 0n : call.place(JSON.stringify(call.response.headers));
}

function invoke(call: ExtismCall, exports: GuestExports, entrypoint: string): GuestResult {
  call.placeInput();
  const status = returned(exports[entrypoint] as () => number) ?? 0;
  if (!call.hasFailed) declareFailure(call, entrypoint, status);
  return call.result(() => call.output());
}

/** A text for an error, or a status that is not 0, says that the module failed; neither has a code of ours. */
function declareFailure(call: ExtismCall, entrypoint: string, status: number): void {
  const text = call.errorText();
  if (text === undefined && status === 0) return;
  const message = text ?? `${entrypoint} returned ${status}, and said nothing of why`;
  call.setError({ code: undeclaredFailureCode, message, retryable: false });
}
