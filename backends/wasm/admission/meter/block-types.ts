import { leb128, signedLeb128 } from "../../binary/reader.ts";
import type { FunctionType, ValueType } from "../../binary/shape.ts";

const emptyBlock = [0x40];
const functionForm = 0x60;

const valueTypeCodes: Readonly<Record<ValueType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
  funcref: 0x70,
  externref: 0x6f,
};

/** The types of blocks around whole bodies, and the entries that a module's type section needs for them. */
export class BlockTypes {
  /** To be appended to the type section. */
  readonly added: number[][];
  readonly #declared: number;
  /** By what a function gives, of several results; and by its type, as long ones are not to be compared for each function. */
  readonly #byResults = new Map<string, readonly number[]>();
  readonly #byType = new Map<FunctionType, readonly number[]>();

  /** @param declared the module's own types @param first the entry that stands before all others */
  constructor(declared: readonly FunctionType[], first: number[]) {
    this.#declared = declared.length;
    this.added = [first];
  }

  /** The type of a block that takes nothing and gives what the function gives, as code has it. */
  of(type: FunctionType): readonly number[] {
    const [only] = type.results;
    if (only === undefined) return emptyBlock;
    if (type.results.length === 1) return [valueTypeCodes[only]];
    const known = this.#byType.get(type) ?? this.#ofResults(type.results);
    this.#byType.set(type, known);
    return known;
  }

  #ofResults(results: readonly ValueType[]): readonly number[] {
    const codes = results.map((result) => valueTypeCodes[result]);
    const key = String.fromCharCode(...codes);
    const known = this.#byResults.get(key);
    if (known !== undefined) return known;
    const type = signedLeb128(BigInt(this.#declared + this.added.length));
    this.added.push([functionForm, 0, ...leb128(codes.length), ...codes]);
    this.#byResults.set(key, type);
    return type;
  }
}
