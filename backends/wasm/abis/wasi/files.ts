import { errno } from "./errno.ts";
import { standardInput, type WasiCall } from "./wasi-call.ts";

// There are no files: descriptors 0 to 2 are a terminal that nothing is read from, and no directory is given.

/** A terminal, so that C libraries write each line when it ends: nobody flushes what they hold when the entrypoint returns. */
const characterDevice = 2;
const mayRead = 1n << 1n;
const mayWrite = 1n << 6n;
const descriptorStateBytes = 24;
const fileStateBytes = 64;
const bufferBytes = 8;
/** Buffers that one call may have: as many as Linux takes. */
const maxBuffers = 1024;
/** Of one `fd_write`; what is more, it has not written. */
const maxWriteBytes = 64 * 1024;

/** `fd_fdstat_get` */
export function descriptorState(call: WasiCall, descriptor: number, pointer: number): number {
  if (!call.isOpen(descriptor)) return errno.badFileDescriptor;
  const state = Buffer.alloc(descriptorStateBytes);
  state.writeUInt8(characterDevice, 0);
  state.writeBigUInt64LE(descriptor === standardInput ? mayRead : mayWrite, 8);
  call.memory.write(state, pointer, "a buffer for a descriptor's state");
  return errno.success;
}

/** `fd_filestat_get` */
export function fileState(call: WasiCall, descriptor: number, pointer: number): number {
  if (!call.isOpen(descriptor)) return errno.badFileDescriptor;
  const state = Buffer.alloc(fileStateBytes);
  state.writeUInt8(characterDevice, 16);
  call.memory.write(state, pointer, "a buffer for a file's state");
  return errno.success;
}

/** `fd_read`: the input has ended before it began. */
export function readNothing(call: WasiCall, descriptor: number, pointer: number): number {
  if (descriptor !== standardInput) return errno.badFileDescriptor;
  call.memory.setU32(pointer, 0, "the number of bytes read");
  return errno.success;
}

/** `fd_write`: to the log. Writes part of what is too much at once, as it may. */
export function write(call: WasiCall, descriptor: number, buffers: number, count: number, pointer: number): number {
  const output = call.output(descriptor);
  if (output === undefined) return errno.badFileDescriptor;
  if (count >>> 0 > maxBuffers) return errno.invalid;
  const { buffer, byteOffset, byteLength } = call.memory.slice(buffers, count * bufferBytes, "the list of buffers");
  const list = new DataView(buffer, byteOffset, byteLength);
  let written = 0;
  for (let at = 0; at < byteLength && written < maxWriteBytes; at += bufferBytes) {
    const length = Math.min(list.getUint32(at + 4, true), maxWriteBytes - written);
    output.write(call.memory.slice(list.getUint32(at, true), length, "a buffer to write"));
    written += length;
  }
  // Here, and not where a line is logged: that may be when the call has ended, and nobody can pay any more.
  call.guest.fuel.chargeText(written);
  call.memory.setU32(pointer, written, "the number of bytes written");
  return errno.success;
}

/** `fd_renumber` */
export function renumber(call: WasiCall, from: number, to: number): number {
  return call.isOpen(from) && call.isOpen(to) ? errno.notSupported : errno.badFileDescriptor;
}

/** A function of a descriptor that gives `error` for one that is open. */
export function onOpen(current: () => WasiCall, error: number): (descriptor: number) => number {
  return (descriptor) => (current().isOpen(descriptor) ? error : errno.badFileDescriptor);
}
