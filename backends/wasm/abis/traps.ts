import { MillraceError } from "../../../engine/errors.ts";
import { type Fuel, maxStackBytes } from "./fuel.ts";
import { GuestExit } from "./guest-exit.ts";
import { refusedGlobal } from "./host-exports.ts";

/** The guest's allocator gave a null pointer. */
export class NoMemoryGiven extends Error {
  override readonly name = "NoMemoryGiven";
}

/** What is known of an instance when its code has thrown. */
export interface TrapState {
  /** Undefined while instantiating, when no code of the guest runs: its start function was made an export. */
  readonly instance: WebAssembly.Instance | undefined;
  readonly fuel: Fuel | undefined;
  readonly maxMemoryBytes: number;
}

/**
 * What a call threw, as one of the closed set, told by the kind of error and the instance's state, never by the engine's text: out of
 * fuel, calls too deep, memory refused, trap.
 */
export function translateTrap(thrown: unknown, state: TrapState): MillraceError {
  if (thrown instanceof MillraceError) return thrown;
  if (thrown instanceof GuestExit) {
    return new MillraceError("ProcessorCrashed", `The WASM module ${thrown.message}.`, { cause: thrown });
  }
  if (thrown instanceof WebAssembly.RuntimeError || thrown instanceof NoMemoryGiven) return trapped(thrown, state);
  if (!(thrown instanceof RangeError)) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new MillraceError("Internal", `The WASM module could not be called: ${message}`, { cause: thrown });
  }
  // V8 throws a RangeError for a full stack and, while instantiating, when it finds no room for the memory.
  if (state.instance === undefined) {
    return new MillraceError("ResourceExhausted", `No room for an instance's memory: ${thrown.message}.`, {
      cause: thrown,
    });
  }
  return tooDeep(thrown);
}

function trapped(thrown: Error, { instance, fuel, maxMemoryBytes }: TrapState): MillraceError {
  if (fuel?.isExhausted) return fuel.exceeded(thrown);
  if (fuel?.isTooDeep) return tooDeep(thrown);
  if (wasRefusedMemory(instance)) {
    return new MillraceError(
      "SandboxViolation",
      `The WASM module wanted more memory than its limit of ${maxMemoryBytes} bytes (spec.wasm.limits.memory) and could not go on (${thrown.message}). Raise the limit, or give it less input.`,
      { cause: thrown },
    );
  }
  return new MillraceError("ProcessorCrashed", `The WASM module trapped: ${thrown.message}.`, { cause: thrown });
}

function tooDeep(cause: unknown): MillraceError {
  return new MillraceError(
    "SandboxViolation",
    `The WASM module's calls went deeper than its stack of ${maxStackBytes} bytes. Look for recursion without end, or for large locals.`,
    { cause },
  );
}

/** An instance that is used again begins anew: what an earlier call was refused says nothing of the next. */
export function forgetRefusedMemory(instance: WebAssembly.Instance): void {
  const flag = instance.exports[refusedGlobal];
  if (flag instanceof WebAssembly.Global) flag.value = 0;
}

function wasRefusedMemory(instance: WebAssembly.Instance | undefined): boolean {
  const flag = instance?.exports[refusedGlobal];
  return flag instanceof WebAssembly.Global && flag.value === 1;
}
