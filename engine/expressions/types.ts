/** The kinds of values that expressions know, as bits: a type is a set of them. */
export const kinds = {
  null: 1,
  bool: 2,
  int: 4,
  double: 8,
  string: 16,
  bytes: 32,
  list: 64,
  map: 128,
  /** Timestamps, durations, unsigned integers, types: nothing is said of them. */
  other: 256,
} as const;
export type Kind = keyof typeof kinds;

const allKinds = 511;

/** JSON's numbers: 1 and 1.0 are the same to a JSON Schema, and not to CEL. */
export const numberKinds = kinds.int | kinds.double;

/** What is known of a value before there is one. Whatever is not known is {@link anyType}. */
export interface Type {
  readonly kinds: number;
  /** Of a map: what is under a key; undefined: that key cannot be there. */
  readonly property: (key: string) => Type | undefined;
  /** Of a map: the keys that are known. */
  readonly keys: readonly string[];
  /** Of a list. */
  readonly item: () => Type;
  /** Of how many others it may be either. */
  readonly alternatives: number;
}

/** Types that share parts would multiply: of what may be more than these, only the kinds are known. */
const maxAlternatives = 16;

/** The types of the variables that an expression sees, by name. */
export type VariableTypes = ReadonlyMap<string, Type>;

/** Nothing is known. */
export const anyType: Type = {
  kinds: allKinds,
  property: () => anyType,
  keys: [],
  item: () => anyType,
  alternatives: 1,
};

/** One of these kinds, and nothing more is known. */
export function typeOf(...names: readonly Kind[]): Type {
  return ofKinds(names.reduce((bits, name) => bits | kinds[name], 0));
}

export function ofKinds(bits: number): Type {
  return { ...anyType, kinds: bits };
}

export function listOf(item: Type): Type {
  return { ...anyType, kinds: kinds.list, item: () => item };
}

/** A map of these keys, and of others too where `rest` says what they hold. */
export function mapOf(properties: ReadonlyMap<string, Type>, rest?: Type): Type {
  return {
    kinds: kinds.map,
    property: (key) => properties.get(key) ?? rest,
    keys: [...properties.keys()],
    item: anyType.item,
    alternatives: 1,
  };
}

/** A value of the one type or of the other. */
export function eitherOf(a: Type, b: Type): Type {
  if (a === b) return a;
  const bits = a.kinds | b.kinds;
  const alternatives = a.alternatives + b.alternatives;
  if (alternatives > maxAlternatives) return ofKinds(bits);
  const parts = [a, b].filter((type) => (type.kinds & kinds.map) !== 0);
  const lists = [a, b].filter((type) => (type.kinds & kinds.list) !== 0);
  return {
    kinds: bits,
    property: (key) => anyOf(parts.map((type) => type.property(key))),
    get keys() {
      return [...new Set(parts.flatMap((type) => type.keys))];
    },
    item: () => anyOf(lists.map((type) => type.item())) ?? anyType,
    alternatives,
  };
}

function anyOf(types: readonly (Type | undefined)[]): Type | undefined {
  return types.reduce(
    (sum, type) => (sum === undefined || type === undefined ? (sum ?? type) : eitherOf(sum, type)),
    undefined,
  );
}

/** Whether a value of this type may be of one of the kinds. */
export function mayBe(type: Type, bits: number): boolean {
  return (type.kinds & (bits | kinds.other)) !== 0;
}

const names: Readonly<Record<Kind, string>> = {
  null: "null",
  bool: "a bool",
  int: "an int",
  double: "a double",
  string: "a string",
  bytes: "bytes",
  list: "a list",
  map: "a map",
  other: "another value",
};

/** A type for a message: `a string or null`. */
export function describe({ kinds: bits }: Type): string {
  const isNumber = (bits & numberKinds) === numberKinds;
  const found = (Object.keys(kinds) as Kind[]).filter((name) => (bits & kinds[name]) !== 0);
  const shown = found
    .filter((name) => !isNumber || name !== "double")
    .map((name) => (isNumber && name === "int" ? "a number" : names[name]));
  return shown.join(" or ");
}
