// Calls of the core test suite that JavaScript cannot make: v128 values do not cross its border, and NaNs lose their bits. Each is made by
// a small module of its own, which has the arguments as constants, and stores the result into its memory.
import type { FunctionType, ValueType } from "../../../backends/wasm/binary/shape.ts";
import { assemble, constant, constant64, end } from "./assembler.ts";
import type { ScriptValue } from "./core-suite.ts";

const codes: Readonly<Record<ValueType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
  funcref: 0x70,
  externref: 0x6f,
};

/** `TYPE.store` with its memory argument. */
const stores: Readonly<Partial<Record<ValueType, readonly number[]>>> = {
  i32: [0x36, 0, 0],
  i64: [0x37, 0, 0],
  f32: [0x38, 0, 0],
  f64: [0x39, 0, 0],
  v128: [0xfd, 11, 0, 0],
};

const unseen: ReadonlySet<string> = new Set(["f32", "f64", "v128"]);

/** Whether a call is better made by {@link callByBits}, and can be. */
export function hasBits(type: FunctionType): boolean {
  const values = [...type.params, ...type.results];
  return (
    values.some((one) => unseen.has(one)) &&
    type.results.length <= 1 &&
    values.every((one) => stores[one] !== undefined)
  );
}

/** Calls `target` with these bits, and gives the 16 bytes from where its result was stored. */
export function callByBits(target: unknown, type: FunctionType, args: readonly ScriptValue[]): DataView {
  const [result] = type.results;
  const bytes = assemble({
    types: [
      [type.params.map((one) => codes[one]), type.results.map((one) => codes[one])],
      [[], []],
    ],
    imports: [["suite", "target", [0x00, 0]]],
    memories: [[0, 1]],
    functions: [
      [
        1,
        [
          ...constant(0),
          ...args.flatMap(constantOf),
          0x10,
          0,
          ...(result === undefined ? [0x1a] : (stores[result] ?? [])),
          end,
        ],
      ],
    ],
    exports: [
      ["memory", 2, 0],
      ["run", 0, 1],
    ],
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { suite: { target } });
  (exports.run as () => void)();
  return new DataView((exports.memory as WebAssembly.Memory).buffer, 0, 16);
}

function constantOf({ type, value, lane_type }: ScriptValue): number[] {
  if (type === "v128") return [0xfd, 12, ...lanesOf(value as readonly string[], lane_type ?? "i32")];
  const bits = BigInt(value as string);
  if (type === "i32") return constant(Number(BigInt.asIntN(32, bits)));
  if (type === "i64") return constant64(bits);
  return [type === "f32" ? 0x43 : 0x44, ...littleEndian(bits, type === "f32" ? 4 : 8)];
}

const widths: Readonly<Record<string, number>> = { i8: 1, i16: 2, i32: 4, i64: 8, f32: 4, f64: 8 };

function lanesOf(values: readonly string[], lane: string): number[] {
  return values.flatMap((value) => littleEndian(BigInt(value), widths[lane] ?? 4));
}

function littleEndian(bits: bigint, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, at) => Number((bits >> BigInt(8 * at)) & 0xffn));
}

/** Whether what was stored is what the script expects. */
export function isExpectedBits(stored: DataView, { type, value, lane_type }: ScriptValue): boolean {
  if (type !== "v128") return isLane(stored, 0, type, String(value));
  const lane = lane_type ?? "i32";
  return (value as readonly string[]).every((one, at) => isLane(stored, at * (widths[lane] ?? 4), lane, one));
}

function isLane(stored: DataView, offset: number, type: string, value: string): boolean {
  const width = widths[type] ?? 4;
  let bits = 0n;
  for (let at = width - 1; at >= 0; at--) bits = (bits << 8n) | BigInt(stored.getUint8(offset + at));
  if (!value.startsWith("nan:")) return bits === BigInt.asUintN(8 * width, BigInt(value));
  const mantissa = width === 4 ? 23n : 52n;
  const quiet = 1n << (mantissa - 1n);
  const exponent = (((1n << BigInt(8 * width - 1)) - 1n) >> mantissa) << mantissa;
  if ((bits & exponent) !== exponent || (bits & quiet) === 0n) return false;
  return value === "nan:arithmetic" || (bits & ((1n << mantissa) - 1n)) === quiet;
}
