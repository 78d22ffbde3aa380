import { MillraceError } from "../../engine/errors.ts";
import { refusedGlobal } from "./growth.ts";

/** The guest's allocator gave a null pointer. */
export class NoMemoryGiven extends Error {
  override readonly name = "NoMemoryGiven";
}

/**
 * What a call threw, as one of the closed set, told by the kind of error and the instance's state, never by the
 * engine's text: memory refused, stack exhausted, trap. `instance` is undefined while instantiating, when no code of
 * the guest runs (its start function was made an export).
 */
export function translateTrap(
  thrown: unknown,
  instance: WebAssembly.Instance | undefined,
  maxMemoryBytes: number,
): MillraceError {
  if (thrown instanceof MillraceError) return thrown;
  const trapped = thrown instanceof WebAssembly.RuntimeError || thrown instanceof NoMemoryGiven;
  if (trapped && wasRefusedMemory(instance)) {
    return new MillraceError(
      "SandboxViolation",
      `The WASM module wanted more memory than its limit of ${maxMemoryBytes} bytes (spec.wasm.limits.memory) and could not go on (${thrown.message}). Raise the limit, or give it less input.`,
      { cause: thrown },
    );
  }
  if (trapped) {
    return new MillraceError("ProcessorCrashed", `The WASM module trapped: ${thrown.message}.`, { cause: thrown });
  }
  if (!(thrown instanceof RangeError)) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new MillraceError("Internal", `The WASM module could not be called: ${message}`, { cause: thrown });
  }
  // V8 throws a RangeError for a full stack and, while instantiating, when it finds no room for the memory.
  if (instance === undefined) {
    return new MillraceError("ResourceExhausted", `No room for an instance's memory: ${thrown.message}.`, {
      cause: thrown,
    });
  }
  return new MillraceError(
    "SandboxViolation",
    "The WASM module's calls went deeper than the stack of its worker. Look for recursion without end, or for large locals.",
    { cause: thrown },
  );
}

function wasRefusedMemory(instance: WebAssembly.Instance | undefined): boolean {
  const flag = instance?.exports[refusedGlobal];
  return flag instanceof WebAssembly.Global && flag.value === 1;
}
