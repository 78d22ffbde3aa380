import type { Abi, GuestExports, GuestFunction } from "./abi.ts";
import { type AbiContract, type } from "./contract.ts";
import type { GuestResult } from "./guest.ts";
import { GuestCall, undeclaredFailureCode } from "./guest-call.ts";
import { returned } from "./guest-exit.ts";
import { NoMemoryGiven } from "./traps.ts";

/**
 * The ABI of the-dagwood's modules, described for authors in `docs/wasm-authors.md`: the entrypoint gets the input and a cell of four bytes
 * that receives the output's length, and gives the output's pointer, or null. Whoever gets memory gives it back by `deallocate`.
 */
const contract: AbiContract = {
  name: "Dagwood",
  imports: {},
  exports: { memory: "memory", allocate: type("i32", "i32"), deallocate: type("i32 i32", "") },
  entrypoint: type("i32 i32 i32", "i32"),
  initializers: ["_initialize"],
};

const lengthCellBytes = 4;

/** See {@link contract}. */
export const dagwoodAbi: Abi<DagwoodCall> = {
  contract,
  begin: (request, host) => new DagwoodCall(contract.name, request, host),
  imports: () => ({}),
  invoke,
  probe: (call, exports) => void allocate(call, exports, 1),
  release(call, exports) {
    const deallocate = exports.deallocate as GuestFunction;
    for (const [pointer, length] of call.blocks) deallocate(pointer, length);
  },
};

/** Remembers what is the host's to give back. */
class DagwoodCall extends GuestCall {
  readonly blocks: [pointer: number, length: number][] = [];
}

function invoke(call: DagwoodCall, exports: GuestExports, entrypoint: string): GuestResult {
  const { payload, contentType } = call.request;
  // Modules take a null pointer for a mistake, and allocators give one for no bytes at all.
  const input = allocate(call, exports, Math.max(1, payload.byteLength));
  call.memory.write(payload, input, "what allocate gave");
  const cell = allocate(call, exports, lengthCellBytes);
  call.memory.write(new Uint8Array(lengthCellBytes), cell, "what allocate gave");
  const process = exports[entrypoint] as GuestFunction;
  const output = (returned(() => process(input, payload.byteLength, cell)) ?? 0) >>> 0;
  if (output === 0) {
    call.setError({ code: undeclaredFailureCode, message: `${entrypoint} gave a null pointer`, retryable: false });
  }
  return call.result(() => takeOutput(call, output, cell), contentType);
}

function takeOutput(call: DagwoodCall, output: number, cell: number): Uint8Array {
  const length = call.memory.u32(cell, "the cell of the output's length");
  const bytes = call.memory.slice(output, length, "the output");
  call.blocks.push([output, length]);
  return bytes;
}

function allocate(call: DagwoodCall, exports: GuestExports, length: number): number {
  const pointer = (exports.allocate as GuestFunction)(length) >>> 0;
  if (pointer === 0) throw new NoMemoryGiven(`allocate(${length}) gave a null pointer`);
  call.blocks.push([pointer, length]);
  return pointer;
}
