/**
 * The part of the WebAssembly JavaScript API that this folder uses. TypeScript declares it in `lib.dom` only, and Node's
 * own types leave it out; the browser's globals must not become visible here.
 */
declare namespace WebAssembly {
  type ExportValue = ((...parameters: number[]) => number | bigint | undefined) | Memory | Global | object;
  type Imports = Record<string, Record<string, unknown>>;

  class Module {
    constructor(bytes: Uint8Array);
    /** Structured clone shares the compiled code with other threads. */
    private readonly brand: unknown;
  }

  class Instance {
    constructor(module: Module, imports?: Imports);
    readonly exports: Readonly<Record<string, ExportValue>>;
  }

  class Memory {
    constructor(descriptor: { initial: number; maximum?: number });
    readonly buffer: ArrayBuffer;
    /** By pages of 64 KiB. Throws a RangeError where there is no room. */
    grow(pages: number): number;
  }

  class Global {
    constructor(descriptor: { value: "i64"; mutable: boolean }, value: bigint);
    constructor(descriptor: { value: "i32"; mutable: boolean }, value: number);
    /** Of an i64, a bigint. */
    value: unknown;
  }

  class CompileError extends Error {}
  /** A trap. */
  class RuntimeError extends Error {}

  function validate(bytes: Uint8Array): boolean;
}
