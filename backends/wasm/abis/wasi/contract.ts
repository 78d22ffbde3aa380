import type { FunctionType, ModuleShape } from "../../binary/shape.ts";
import { type FunctionTypes, type } from "../contract.ts";

/** The import module of WASI preview 1, which is given to every ABI. */
export const wasiModule = "wasi_snapshot_preview1";

/** What preview 1 was before it was settled: refused, as some of its types and layouts differ. */
export const oldWasiModule = "wasi_unstable";

const pointers = (count: number): FunctionType => type(Array.from({ length: count }, () => "i32").join(" "), "i32");

/** All of WASI preview 1, as its `witx` has them. */
export const wasiFunctions = {
  args_get: pointers(2),
  args_sizes_get: pointers(2),
  clock_res_get: pointers(2),
  clock_time_get: type("i32 i64 i32", "i32"),
  environ_get: pointers(2),
  environ_sizes_get: pointers(2),
  fd_advise: type("i32 i64 i64 i32", "i32"),
  fd_allocate: type("i32 i64 i64", "i32"),
  fd_close: pointers(1),
  fd_datasync: pointers(1),
  fd_fdstat_get: pointers(2),
  fd_fdstat_set_flags: pointers(2),
  fd_fdstat_set_rights: type("i32 i64 i64", "i32"),
  fd_filestat_get: pointers(2),
  fd_filestat_set_size: type("i32 i64", "i32"),
  fd_filestat_set_times: type("i32 i64 i64 i32", "i32"),
  fd_pread: type("i32 i32 i32 i64 i32", "i32"),
  fd_prestat_dir_name: pointers(3),
  fd_prestat_get: pointers(2),
  fd_pwrite: type("i32 i32 i32 i64 i32", "i32"),
  fd_read: pointers(4),
  fd_readdir: type("i32 i32 i32 i64 i32", "i32"),
  fd_renumber: pointers(2),
  fd_seek: type("i32 i64 i32 i32", "i32"),
  fd_sync: pointers(1),
  fd_tell: pointers(2),
  fd_write: pointers(4),
  path_create_directory: pointers(3),
  path_filestat_get: pointers(5),
  path_filestat_set_times: type("i32 i32 i32 i32 i64 i64 i32", "i32"),
  path_link: pointers(7),
  path_open: type("i32 i32 i32 i32 i32 i64 i64 i32 i32", "i32"),
  path_readlink: pointers(6),
  path_remove_directory: pointers(3),
  path_rename: pointers(6),
  path_symlink: pointers(5),
  path_unlink_file: pointers(3),
  poll_oneoff: pointers(4),
  proc_exit: type("i32", ""),
  proc_raise: pointers(1),
  random_get: pointers(2),
  sched_yield: pointers(0),
  sock_accept: pointers(3),
  sock_recv: pointers(6),
  sock_send: pointers(5),
  sock_shutdown: pointers(2),
} as const satisfies FunctionTypes;

/** A function of WASI preview 1. */
export type WasiFunction = keyof typeof wasiFunctions;

/** Whether a module imports WASI, so that it may wait, and needs a thread that can be ended. */
export function usesWasi(shape: ModuleShape): boolean {
  return shape.imports.some(({ module }) => module === wasiModule);
}
