import { GuestExit } from "../guest-exit.ts";
import { clockResolution, clockTime } from "./clocks.ts";
import { type WasiFunction, wasiModule } from "./contract.ts";
import { errno } from "./errno.ts";
import { descriptorState, fileState, onOpen, readNothing, renumber, write } from "./files.ts";
import { poll } from "./poll.ts";
import { args, environment, give, sizes } from "./texts.ts";
import type { WasiCall } from "./wasi-call.ts";

/** WASI preview 1 as it is given to modules of every ABI: a log, clocks, random numbers and an environment, and nothing to reach. */
export function wasiImports(current: () => WasiCall): WebAssembly.Imports {
  return { [wasiModule]: { ...machine(current), ...descriptors(current), ...paths, ...sockets } };
}

/** The functions of the type that `wasiFunctions` has of them. */
type Functions<Names extends WasiFunction> = Record<Names, (...parameters: never[]) => number | undefined>;

type PathFunction = Extract<WasiFunction, `path_${string}`>;
type SocketFunction = Extract<WasiFunction, `sock_${string}`>;
type DescriptorFunction = Extract<WasiFunction, `fd_${string}`>;

function machine(
  current: () => WasiCall,
): Functions<Exclude<WasiFunction, PathFunction | SocketFunction | DescriptorFunction>> {
  return {
    args_get: (pointers: number, buffer: number) => give(current(), args, pointers, buffer),
    args_sizes_get: (count: number, bytes: number) => sizes(current(), args, count, bytes),
    environ_get: (pointers: number, buffer: number) => give(current(), environment(current()), pointers, buffer),
    environ_sizes_get: (count: number, bytes: number) => sizes(current(), environment(current()), count, bytes),
    clock_res_get: (id: number, pointer: number) => clockResolution(current(), id, pointer),
    clock_time_get: (id: number, _precision: bigint, pointer: number) => clockTime(current(), id, pointer),
    poll_oneoff: (from: number, to: number, count: number, pointer: number) =>
      poll(current(), from, to, count, pointer),
    proc_exit: (code: number) => {
      current().hasExited = true;
      throw new GuestExit(code >>> 0);
    },
    proc_raise: () => errno.notSupported,
    random_get: (pointer: number, length: number) => {
      current().fillRandom(current().memory.slice(pointer, length, "a buffer for random bytes"));
      return errno.success;
    },
    sched_yield: () => errno.success,
  };
}

function descriptors(current: () => WasiCall): Functions<DescriptorFunction> {
  const on = (error: number) => onOpen(current, error);
  return {
    fd_advise: on(errno.notSeekable),
    fd_allocate: on(errno.notSupported),
    // They outlast it: a guest that closes what it logs with may still trap, and say why.
    fd_close: on(errno.success),
    fd_datasync: on(errno.success),
    fd_fdstat_get: (descriptor: number, pointer: number) => descriptorState(current(), descriptor, pointer),
    fd_fdstat_set_flags: on(errno.success),
    fd_fdstat_set_rights: on(errno.notSupported),
    fd_filestat_get: (descriptor: number, pointer: number) => fileState(current(), descriptor, pointer),
    fd_filestat_set_size: on(errno.notSupported),
    fd_filestat_set_times: on(errno.notSupported),
    fd_pread: on(errno.notSeekable),
    fd_prestat_dir_name: () => errno.badFileDescriptor,
    fd_prestat_get: () => errno.badFileDescriptor,
    fd_pwrite: on(errno.notSeekable),
    fd_read: (descriptor: number, _buffers: number, _count: number, pointer: number) =>
      readNothing(current(), descriptor, pointer),
    fd_readdir: on(errno.notDirectory),
    fd_renumber: (from: number, to: number) => renumber(current(), from, to),
    fd_seek: on(errno.notSeekable),
    fd_sync: on(errno.success),
    fd_tell: on(errno.notSeekable),
    fd_write: (descriptor: number, buffers: number, count: number, pointer: number) =>
      write(current(), descriptor, buffers, count, pointer),
  };
}

const noPath = () => errno.notCapable;

const paths: Functions<PathFunction> = {
  path_create_directory: noPath,
  path_filestat_get: noPath,
  path_filestat_set_times: noPath,
  path_link: noPath,
  path_open: noPath,
  path_readlink: noPath,
  path_remove_directory: noPath,
  path_rename: noPath,
  path_symlink: noPath,
  path_unlink_file: noPath,
};

const noSocket = () => errno.notSupported;

const sockets: Functions<SocketFunction> = {
  sock_accept: noSocket,
  sock_recv: noSocket,
  sock_send: noSocket,
  sock_shutdown: noSocket,
};
