// The WebAssembly core test suite as it is checked in (test/fixtures/wasm/core-suite says how it is made), and a runner for it:
// every script is run over modules as they are or as a transformation left them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import {
  type FunctionType,
  functionTypeAt,
  type ModuleShape,
  parseModule,
} from "../../../backends/wasm/binary/shape.ts";
import { callByBits, hasBits, isExpectedBits } from "./core-suite-bits.ts";

/** A value as a script writes it: floats by their bits, `nan:canonical` and `nan:arithmetic` in results. */
export interface ScriptValue {
  readonly type: "i32" | "i64" | "f32" | "f64" | "externref" | "funcref" | "v128";
  readonly value?: string | readonly string[];
  /** Of a v128. */
  readonly lane_type?: string;
}

interface ScriptAction {
  readonly type: "invoke" | "get";
  readonly module?: string;
  readonly field: string;
  readonly args?: readonly ScriptValue[];
}

export interface ScriptCommand {
  readonly type: string;
  readonly line: number;
  readonly name?: string;
  readonly as?: string;
  readonly filename?: string;
  readonly module_type?: "binary" | "text";
  readonly action?: ScriptAction;
  readonly expected?: readonly ScriptValue[];
}

export interface Script {
  readonly commands: readonly ScriptCommand[];
  /** In hexadecimal, by file name. */
  readonly modules: Readonly<Record<string, string>>;
}

/** All scripts by name, such as `core/br_table`. */
export function readCoreSuite(): ReadonlyMap<string, Script> {
  const file = join(import.meta.dirname, "../../fixtures/wasm/core-suite/core-suite.json.zst");
  const text = zstdDecompressSync(readFileSync(file)).toString();
  return new Map(Object.entries(JSON.parse(text) as Record<string, Script>));
}

/** What a script's modules go through, and how an instance is brought up. */
export interface Treatment {
  /** Gives the module that is compiled instead; throws where it is refused. */
  rewrite(bytes: Uint8Array): Uint8Array;
  /** Runs what a start function would have; called once for each instance. */
  started(instance: WebAssembly.Instance): void;
  /** Before each call of an instance's function. */
  refuelled(instance: WebAssembly.Instance): void;
}

export interface ScriptReport {
  /** Assertions that held. */
  passed: number;
  /** That say nothing here: of text modules, of modules that are valid by now, of those that were refused. */
  leftOut: number;
  /** Of modules that `rewrite` refused, and everything that depends on them. */
  readonly refused: string[];
  readonly failures: string[];
}

/** Runs one script. */
export function runScript(script: Script, treatment: Treatment): ScriptReport {
  const runner = new ScriptRunner(script, treatment);
  for (const command of script.commands) runner.run(command);
  return runner.report;
}

type Value = number | bigint | object | null | undefined;

/** What a call gave: as JavaScript sees it, or where it was stored. */
type Outcome = { readonly values: readonly Value[] } | { readonly bits: DataView };

function shapeOf(bytes: Uint8Array): ModuleShape | undefined {
  try {
    return parseModule(bytes);
  } catch {
    return undefined;
  }
}

/** None of a module that is refused. */
function functionTypes(bytes: Uint8Array): ReadonlyMap<string, FunctionType> {
  const shape = shapeOf(bytes);
  if (shape === undefined) return new Map();
  return new Map(
    shape.exports.flatMap(({ name, kind, index }) => {
      const type = kind === "function" ? functionTypeAt(shape, index) : undefined;
      return type === undefined ? [] : [[name, type] as const];
    }),
  );
}

function shown(outcome: Outcome): string {
  if ("values" in outcome) return outcome.values.map(String).join(", ");
  return Buffer.from(outcome.bits.buffer, 0, 16).toString("hex");
}

class ScriptRunner {
  readonly report: ScriptReport = { passed: 0, leftOut: 0, refused: [], failures: [] };
  readonly #script: Script;
  readonly #treatment: Treatment;
  readonly #imports: Record<string, Record<string, unknown>> = { spectest: spectest() };
  readonly #named = new Map<string, WebAssembly.Instance>();
  readonly #hosts = new Map<string, object>();
  /** Of the instances' exported functions, by name. */
  readonly #types = new WeakMap<WebAssembly.Instance, ReadonlyMap<string, FunctionType>>();
  #current: WebAssembly.Instance | undefined;

  constructor(script: Script, treatment: Treatment) {
    this.#script = script;
    this.#treatment = treatment;
  }

  run(command: ScriptCommand): void {
    const steps: Readonly<Record<string, () => void>> = {
      module: () => this.#module(command),
      register: () => this.#register(command),
      action: () => void this.#act(command),
      assert_return: () => this.#return(command),
      assert_trap: () => this.#trap(command),
      assert_exhaustion: () => this.#trap(command),
      assert_invalid: () => this.#invalid(command),
      assert_malformed: () => this.#invalid(command),
      assert_unlinkable: () => this.#fails(command),
      assert_uninstantiable: () => this.#fails(command),
    };
    const step = steps[command.type];
    if (step === undefined) throw new Error(`the suite has a command ${command.type}`);
    try {
      step();
    } catch (error) {
      this.#fail(command, String(error));
    }
  }

  #module(command: ScriptCommand): void {
    this.#current = undefined;
    if (command.name !== undefined) this.#named.delete(command.name);
    if (command.module_type !== "binary") {
      this.#leaveOut();
      return;
    }
    const bytes = this.#bytes(command);
    const rewritten = this.#rewrite(command, bytes);
    if (rewritten === undefined) return;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(rewritten), this.#imports);
    this.#treatment.started(instance);
    this.#types.set(instance, functionTypes(bytes));
    this.#current = instance;
    if (command.name !== undefined) this.#named.set(command.name, instance);
    this.report.passed += 1;
  }

  #rewrite(command: ScriptCommand, bytes: Uint8Array): Uint8Array | undefined {
    try {
      return this.#treatment.rewrite(bytes);
    } catch (error) {
      this.report.refused.push(`line ${command.line}: ${String(error)}`);
      return undefined;
    }
  }

  #register(command: ScriptCommand): void {
    const instance = command.name === undefined ? this.#current : this.#named.get(command.name);
    if (instance !== undefined && command.as !== undefined) this.#imports[command.as] = { ...instance.exports };
  }

  /** Undefined: of a module that was refused. */
  #act({ action }: ScriptCommand): Outcome | undefined {
    if (action === undefined) throw new Error("an action is missing");
    const instance = action.module === undefined ? this.#current : this.#named.get(action.module);
    if (instance === undefined) return undefined;
    const target = instance.exports[action.field];
    if (action.type === "get") return { values: [(target as unknown as { value: Value }).value] };
    this.#treatment.refuelled(instance);
    const args = action.args ?? [];
    const type = this.#types.get(instance)?.get(action.field);
    if (type !== undefined && hasBits(type)) return { bits: callByBits(target, type, args) };
    const values = args.map((value) => this.#argument(value));
    const result = (target as unknown as (...args: Value[]) => unknown)(...values);
    if (result === undefined) return { values: [] };
    return { values: Array.isArray(result) ? result : [result as Value] };
  }

  #return(command: ScriptCommand): void {
    const { expected = [] } = command;
    const outcome = this.#act(command);
    if (outcome === undefined) {
      this.#leaveOut();
      return;
    }
    if (this.#holds(outcome, expected)) this.report.passed += 1;
    else this.#fail(command, `expected ${JSON.stringify(expected)}, got ${shown(outcome)}`);
  }

  #holds(outcome: Outcome, expected: readonly ScriptValue[]): boolean {
    if ("bits" in outcome) return expected.every((value) => isExpectedBits(outcome.bits, value));
    const { values } = outcome;
    return values.length === expected.length && expected.every((value, at) => this.#isExpected(value, values[at]));
  }

  #trap(command: ScriptCommand): void {
    try {
      if (this.#act(command) === undefined) {
        this.#leaveOut();
        return;
      }
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError) {
        this.report.passed += 1;
        return;
      }
      throw error;
    }
    this.#fail(command, "did not trap");
  }

  #invalid(command: ScriptCommand): void {
    if (command.module_type !== "binary") {
      this.#leaveOut();
      return;
    }
    const bytes = this.#bytes(command);
    // What an engine of today takes for valid, as a later version of the specification does, is not for us to refuse.
    if (WebAssembly.validate(bytes)) {
      this.#leaveOut();
      return;
    }
    let rewritten: Uint8Array;
    try {
      rewritten = this.#treatment.rewrite(bytes);
    } catch {
      this.report.passed += 1;
      return;
    }
    if (WebAssembly.validate(rewritten)) this.#fail(command, "was not valid, and is now");
    else this.report.passed += 1;
  }

  #fails(command: ScriptCommand): void {
    const rewritten = this.#rewrite(command, this.#bytes(command));
    if (rewritten === undefined) return;
    try {
      this.#treatment.started(new WebAssembly.Instance(new WebAssembly.Module(rewritten), this.#imports));
    } catch {
      this.report.passed += 1;
      return;
    }
    this.#fail(command, "was instantiated");
  }

  #bytes({ filename = "" }: ScriptCommand): Uint8Array {
    const hex = this.#script.modules[filename];
    if (hex === undefined) throw new Error(`there is no ${filename}`);
    return new Uint8Array(Buffer.from(hex, "hex"));
  }

  #argument({ type, value }: ScriptValue): Value {
    if (value === "null") return null;
    if (type === "externref") return this.#host(String(value));
    return numberOf(type, String(value));
  }

  #isExpected({ type, value }: ScriptValue, actual: Value): boolean {
    if (value === undefined) return actual !== null;
    if (value === "null") return actual === null;
    if (type === "externref") return actual === this.#host(String(value));
    if (String(value).startsWith("nan:")) return Number.isNaN(actual);
    const wanted = numberOf(type, String(value));
    return Object.is(wanted, actual);
  }

  #host(name: string): object {
    const host = this.#hosts.get(name) ?? { name };
    this.#hosts.set(name, host);
    return host;
  }

  #leaveOut(): void {
    this.report.leftOut += 1;
  }

  #fail({ type, line }: ScriptCommand, what: string): void {
    this.report.failures.push(`line ${line}, ${type}: ${what}`);
  }
}

const view = new DataView(new ArrayBuffer(8));

function numberOf(type: ScriptValue["type"], text: string): number | bigint {
  const bits = BigInt(text);
  if (type === "i64") return BigInt.asIntN(64, bits);
  if (type === "i32") return Number(BigInt.asIntN(32, bits));
  view.setBigUint64(0, bits, true);
  return type === "f32" ? view.getFloat32(0, true) : view.getFloat64(0, true);
}

interface GlobalConstructor {
  new (descriptor: { value: string; mutable?: boolean }, value: number | bigint): object;
}
interface TableConstructor {
  new (descriptor: { element: string; initial: number; maximum: number }): object;
}

/** The host module that the suite's modules import, as the specification's README has it. */
function spectest(): Record<string, unknown> {
  const { Global, Table } = WebAssembly as unknown as { Global: GlobalConstructor; Table: TableConstructor };
  const nothing = () => undefined;
  const prints = ["print", "print_i32", "print_i64", "print_f32", "print_f64", "print_i32_f32", "print_f64_f64"];
  return {
    ...Object.fromEntries(prints.map((name) => [name, nothing])),
    global_i32: new Global({ value: "i32" }, 666),
    global_i64: new Global({ value: "i64" }, 666n),
    global_f32: new Global({ value: "f32" }, 666.6),
    global_f64: new Global({ value: "f64" }, 666.6),
    table: new Table({ element: "anyfunc", initial: 10, maximum: 20 }),
    memory: new WebAssembly.Memory({ initial: 1, maximum: 2 }),
  };
}
