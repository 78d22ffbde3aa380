import { leb128 } from "../../binary/reader.ts";

// The kernel as a WASM module, put together here: a guest calls its functions directly, without a number ever becoming a BigInt.
//
// Memory: 64..511 heads of the lists of freed blocks, one for each size class; from 1024 on blocks, each behind 8 bytes: the length asked
// for (u32), and `live | class` (u32), which is 0 in a freed block; that one's first bytes lead to the next of its class. There are four
// classes to a power of two. Nothing here loops: whatever a guest calls takes the same time, so that its fuel bounds it. A guest may write
// over the lists and lengths, to its own harm: nothing is read or written beyond the top, so that all behind it is zero.

const i32 = 0x7f;
const i64 = 0x7e;

const heads = 64;
export const firstBlock = 1024;
/** In the upper three bytes of a live block's second word. */
const live = 0x4d52_5800;
/** The kernel's memory ends here at the latest, so that sums of its addresses stay below 2^31. */
export const maxKernelPages = 16_384;

type Code = readonly number[];

const get = (local: number): Code => [0x20, local];
const set = (local: number): Code => [0x21, local];
const tee = (local: number): Code => [0x22, local];
const getGlobal = (global: number): Code => [0x23, global];
const setGlobal = (global: number): Code => [0x24, global];
const constant = (value: number): Code => [0x41, ...signedLeb128(value)];
const constant64 = (value: number): Code => [0x42, ...signedLeb128(value)];
/** One after the other. */
const code = (...parts: (Code | number)[]): Code => parts.flat();
/** `if` without a result, of what is on the stack. */
const when = (...body: Code[]): Code => code(0x04, 0x40, ...body, 0x0b);
const load32 = (offset: number): Code => [0x28, 2, ...leb128(offset)];
const store32 = (offset: number): Code => [0x36, 2, ...leb128(offset)];
const load8: Code = [0x2d, 0, 0];
const store8: Code = [0x3a, 0, 0];
const load64: Code = [0x29, 0, 0];
const store64: Code = [0x37, 0, 0];
const unreachable: Code = [0x00];
const leave: Code = [0x0f];
const add: Code = [0x6a];
const sub: Code = [0x6b];
const and: Code = [0x71];
const or: Code = [0x72];
const xor: Code = [0x73];
const shl: Code = [0x74];
const shrU: Code = [0x76];
const clz: Code = [0x67];
const isZero: Code = [0x45];
const gtU: Code = [0x4b];
const ltU: Code = [0x49];
const isZero64: Code = [0x50];
const gtU64: Code = [0x56];
const add64: Code = [0x7c];
const sub64: Code = [0x7d];
const wrap: Code = [0xa7];
const extend: Code = [0xad];

/** Where the next block begins; the input's address and length. */
const top = 0;
const input = 1;
const inputLength = 2;
/** Up to where this call has made room: whatever calls before took, each asks for its own. */
const room = 3;
const roomBytes = 65_536;

/** The imported function: makes room up to an address, or throws. */
const makeRoom = 0;

/** The address in local 0, of 64 bits as the guest gives it, if that many bytes from there on lie below the top. */
const addressOf = (bytes: number): Code =>
  code(code(get(0), getGlobal(top), extend, constant64(bytes), sub64, gtU64), when(unreachable), code(get(0), wrap));

/** The input's address at the offset in local 0, if that many bytes of the input are there. */
const inputAt = (bytes: number): Code =>
  code(
    code(get(0), getGlobal(inputLength), gtU64),
    when(unreachable),
    code(get(0), constant64(bytes), add64, getGlobal(inputLength), gtU64),
    when(unreachable),
    code(get(0), getGlobal(input), add64, wrap),
  );

/** The address in local 0 goes to local 1, its block's class to local 2; leaves with `otherwise` when it is no live block's. */
const findBlock = (otherwise: Code): Code =>
  code(
    code(get(0), getGlobal(top), extend, gtU64),
    when(otherwise, leave),
    code(get(0), wrap, tee(1), constant(firstBlock), ltU),
    when(otherwise, leave),
    code(get(1), constant(4), sub, load32(0), constant(live), xor, tee(2), constant(256), ltU),
    isZero,
    when(otherwise, leave),
  );

const length = code(findBlock(constant64(0)), get(1), constant(8), sub, load32(0), extend);

const free = code(
  findBlock([]),
  code(get(1), constant(4), sub, constant(0), store32(0)),
  code(get(1), get(2), constant(2), shl, tee(2), load32(heads), store32(0)),
  code(get(2), get(1), store32(heads)),
  // An input that was freed is no input any more.
  code(get(1), getGlobal(input), wrap, 0x46),
  when(constant64(0), setGlobal(inputLength)),
);

/** Locals: 0 the length asked for, 1 that less one, 2 the class's shift, 3 its steps, 4 the class, 5 the block. */
const alloc = code(
  code(get(0), isZero64),
  when(constant64(0), leave),
  code(get(0), constant64(2 ** 30), gtU64),
  when(constant(-1), [0x10, makeRoom], unreachable),
  // shift = max(6, floor(log2(length - 1))) - 2, steps = (length - 1) >> shift, class = (shift - 4) * 4 + steps
  code(get(0), wrap, constant(1), sub, tee(1), constant(64), or),
  code(clz, set(2), constant(29), get(2), sub, tee(2)),
  code(constant(4), sub, constant(2), shl, get(1), get(2), shrU, tee(3), add),
  code(constant(2), shl, tee(4), load32(heads), tee(5)),
  0x04,
  0x40,
  // A list that the guest has written over may lead anywhere.
  code(get(5), getGlobal(top), gtU),
  when(unreachable),
  code(get(5), get(3), constant(1), add, get(2), shl, add, getGlobal(top), gtU),
  when(unreachable),
  code(get(4), get(5), load32(0), store32(heads)),
  0x05,
  // A new block: its end is (steps + 1) << shift further.
  code(getGlobal(top), constant(8), add, tee(5)),
  code(get(3), constant(1), add, get(2), shl, add, tee(3)),
  code(getGlobal(room), gtU),
  when(
    code(get(3), [0x10, makeRoom]),
    code(get(3), constant(roomBytes - 1), add, constant(-roomBytes), and, setGlobal(room)),
  ),
  code(get(3), setGlobal(top)),
  0x0b,
  code(get(5), constant(8), sub, get(0), wrap, store32(0)),
  code(get(5), constant(4), sub, get(4), constant(2), shrU, constant(live), or, store32(0)),
  code(get(5), extend),
);

const reset = code(
  code(constant(0), constant(0), getGlobal(top), 0xfc, 0x0b, 0x00),
  code(constant(firstBlock), setGlobal(top), constant(roomBytes), setGlobal(room)),
  code(constant64(0), setGlobal(input), constant64(0), setGlobal(inputLength)),
);

interface KernelFunction {
  readonly params: Code;
  readonly results: Code;
  /** i32 locals beside the parameters. */
  readonly locals: number;
  readonly code: Code;
}

const of = (params: Code, results: Code, locals: number, code: Code): KernelFunction => ({
  params,
  results,
  locals,
  code,
});

/** By the name that guests import it by; the last two are for the host. */
const functions: Readonly<Record<string, KernelFunction>> = {
  alloc: of([i64], [i64], 5, alloc),
  free: of([i64], [], 2, free),
  length: of([i64], [i64], 2, length),
  length_unsafe: of([i64], [i64], 2, length),
  load_u8: of([i64], [i32], 0, code(addressOf(1), load8)),
  load_u64: of([i64], [i64], 0, code(addressOf(8), load64)),
  store_u8: of([i64, i32], [], 0, code(addressOf(1), get(1), store8)),
  store_u64: of([i64, i64], [], 0, code(addressOf(8), get(1), store64)),
  input_offset: of([], [i64], 0, getGlobal(input)),
  input_length: of([], [i64], 0, getGlobal(inputLength)),
  input_load_u8: of([i64], [i32], 0, code(inputAt(1), load8)),
  input_load_u64: of([i64], [i64], 0, code(inputAt(8), load64)),
  input_set: of([i64, i64], [], 0, code(get(0), setGlobal(input), get(1), setGlobal(inputLength))),
  reset: of([], [], 0, reset),
};

/** In the order of their indices. */
const globals: readonly Code[] = [
  global(i32, constant(firstBlock)),
  global(i64, constant64(0)),
  global(i64, constant64(0)),
  global(i32, constant(roomBytes)),
];

/** Imports `host.make_room(address)`; exports `memory` and {@link functions}. */
export function kernelModule(): Uint8Array {
  const all = Object.entries(functions);
  const types = [of([i32], [], 0, []), ...all.map(([, one]) => one)];
  const sections: Code[] = [
    section(1, vector(types.map(({ params, results }) => [0x60, ...vector(each(params)), ...vector(each(results))]))),
    section(2, vector([[...text("host"), ...text("make_room"), 0x00, 0]])),
    section(3, vector(all.map((_, index) => leb128(index + 1)))),
    section(5, vector([[0x01, 1, ...leb128(maxKernelPages)]])),
    section(6, vector(globals)),
    section(
      7,
      vector([[...text("memory"), 2, 0], ...all.map(([name], index) => [...text(name), 0, ...leb128(index + 1)])]),
    ),
    section(10, vector(all.map(([, one]) => body(one)))),
  ];
  return Uint8Array.from([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, ...sections.flat()]);
}

function body({ locals, code }: KernelFunction): Code {
  const bytes = [...vector(locals === 0 ? [] : [[locals, i32]]), ...code, 0x0b];
  return [...leb128(bytes.length), ...bytes];
}

function section(id: number, bytes: Code): Code {
  return [id, ...leb128(bytes.length), ...bytes];
}

function vector(items: readonly Code[]): number[] {
  return [...leb128(items.length), ...items.flat()];
}

function each(bytes: Code): Code[] {
  return bytes.map((byte) => [byte]);
}

/** A mutable global. */
function global(type: number, initial: Code): Code {
  return [type, 0x01, ...initial, 0x0b];
}

function text(name: string): Code {
  const bytes = new TextEncoder().encode(name);
  return [...leb128(bytes.byteLength), ...bytes];
}

/** Of at most 32 bits. */
function signedLeb128(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7) {
    const low = rest & 0x7f;
    const done = rest >> 6 === 0 || rest >> 6 === -1;
    if (done) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}
