import { errno } from "./errno.ts";
import type { WasiCall } from "./wasi-call.ts";

// Arguments and environment have one form: a list of pointers, and the texts, each with a zero at its end.

const pointerBytes = 4;

/** What `args_get` gives: programs take the first for their own name. */
export const args = ["module"];

/** What `environ_get` gives. */
export function environment(call: WasiCall): string[] {
  return Object.entries(call.guest.request.capabilities.env).map(([name, value]) => `${name}=${value}`);
}

/** `args_sizes_get`, `environ_sizes_get` */
export function sizes(call: WasiCall, texts: readonly string[], count: number, bytes: number): number {
  call.memory.setU32(count, texts.length, "the number of texts");
  call.memory.setU32(bytes, terminated(call, texts).byteLength, "the bytes of texts");
  return errno.success;
}

/** `args_get`, `environ_get` */
export function give(call: WasiCall, texts: readonly string[], pointers: number, buffer: number): number {
  const list = Buffer.alloc(texts.length * pointerBytes);
  let at = buffer >>> 0;
  // The pointers may pass 4 GiB before the buffer is found to lie outside.
  texts.forEach((text, index) => {
    list.writeUInt32LE(at >>> 0, index * pointerBytes);
    at += Buffer.byteLength(text) + 1;
  });
  call.memory.write(terminated(call, texts), buffer, "a buffer for texts");
  call.memory.write(list, pointers, "a list of pointers");
  return errno.success;
}

function terminated(call: WasiCall, texts: readonly string[]): Buffer {
  const bytes = Buffer.from(texts.map((text) => `${text}\0`).join(""));
  call.guest.fuel.chargeText(bytes.byteLength);
  return bytes;
}
