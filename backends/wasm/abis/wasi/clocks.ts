import { errno } from "./errno.ts";
import type { WasiCall } from "./wasi-call.ts";

export const nanosecondsPerMs = 1_000_000n;

/** The clocks that there are, by WASI's number, in nanoseconds: those of processor time are not given. */
export const clocks: readonly ((call: WasiCall) => bigint)[] = [
  (call) => BigInt(Math.floor(call.system.now())) * nanosecondsPerMs,
  (call) => BigInt(call.elapsedMs) * nanosecondsPerMs,
];

/** `clock_time_get` */
export function clockTime(call: WasiCall, id: number, pointer: number): number {
  const clock = clocks[id];
  if (clock === undefined) return errno.notSupported;
  call.memory.setU64(pointer, clock(call), "the time");
  return errno.success;
}

/** `clock_res_get` */
export function clockResolution(call: WasiCall, id: number, pointer: number): number {
  if (clocks[id] === undefined) return errno.notSupported;
  call.memory.setU64(pointer, nanosecondsPerMs, "a clock's resolution");
  return errno.success;
}
