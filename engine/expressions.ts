import { Environment } from "@marcbachmann/cel-js";
import { RE2JS } from "re2js";
import type { RunBudget } from "./cost.ts";
import { instrument, Meter, maxCost, maxRunCost } from "./cost.ts";
import { MillraceError } from "./errors.ts";
import type { Value } from "./json-values.ts";
import { closest } from "./names.ts";
import { Patterns } from "./patterns.ts";
import type { CelEvaluator, CelNode, CelOperator, Reference } from "./references.ts";
import {
  boundNames,
  childrenOf,
  dotBracketsInHas,
  nodeCount,
  referencesOf,
  rootVariables,
  soleReference,
} from "./references.ts";

/** The length of an expression, in characters. */
export const maxExpressionLength = 4096;

/** The Execution's input, where a step's index is expected. */
export const executionInput = -1;

/** What an expression's variables hold in one evaluation. */
export interface Variables {
  readonly input: Value;
  readonly parameters: Value;
  /** By name: a Map with `output`, where the step succeeded, and `metadata`. */
  readonly steps: Value;
  readonly execution: Value;
}

/** A checked expression. Evaluation is synchronous and keeps nothing, so that any number of runs share it. */
export interface Expression {
  readonly source: string;
  /** Where it stands, from the spec on: `steps[2].when`. */
  readonly field: string;
  /** Whose payload to decode before it is evaluated: step indices, and {@link executionInput}. */
  readonly payloads: readonly number[];
  /** Which steps it names at all. */
  readonly steps: readonly number[];
  /** Set when it is nothing but a reference to this one's payload, which is then passed on as it is. */
  readonly passes: number | undefined;
  /**
   * Pays what it costs out of `budget`, if there is one. Throws MillraceError InvalidInput when it fails, costs too much,
   * or gives no bool where one is wanted.
   */
  evaluate(variables: Variables, budget?: RunBudget): Value;
}

/** What stands around an expression. */
export interface ExpressionSite {
  readonly field: string;
  /** The step that it belongs to; absent: the Pipeline's output, which may name every step. */
  readonly step?: string;
  /** All steps of the Pipeline, by name. */
  readonly steps: ReadonlyMap<string, number>;
  readonly isAncestor: (step: number) => boolean;
  readonly parameters: readonly string[];
  readonly result: "bool" | "any";
}

export type ExpressionResult =
  | { readonly ok: true; readonly expression: Expression }
  | { readonly ok: false; readonly faults: readonly ExpressionFault[] };

export interface ExpressionFault {
  readonly message: string;
  readonly mend: string;
}

/** How many faults of one expression are told. */
const maxFaults = 5;

/** A DNS label's: no name is longer. */
const maxStepNameLength = 63;

const executionKeys = ["name", "namespace", "uid"];

interface Program {
  (variables: object): unknown;
  check(): { readonly valid: boolean; readonly type?: string; readonly error?: unknown };
  readonly ast: unknown;
}

/** Parses, type-checks and meters expressions. They are written by tenants: see `adr/0001-metered-expressions.md`. */
export class ExpressionCompiler {
  readonly #environment: Environment;
  readonly #meter = new Meter();
  readonly #patterns = new Patterns((pattern) => RE2JS.compile(pattern));
  readonly #fieldAccess: CelOperator;

  constructor() {
    this.#environment = new Environment({
      unlistedVariablesAreDyn: false,
      homogeneousAggregateLiterals: false,
      limits: { maxDepth: 64 },
    })
      .registerVariable("input", "dyn")
      .registerVariable("parameters", "map<string, dyn>")
      .registerVariable("steps", "map<string, dyn>")
      .registerVariable("execution", "map<string, string>");
    flattenRuntimeTypes(this.#environment);
    const { meta } = this.#parse("input.x").ast as CelNode;
    this.#fieldAccess = { name: ".", check: meta.check, evaluate: meta.evaluate };
  }

  compile(source: string, site: ExpressionSite): ExpressionResult {
    if (source.length > maxExpressionLength) {
      return refused(`it has ${source.length} characters`, `write at most ${maxExpressionLength}`);
    }
    try {
      return this.#compile(source, site);
    } catch (error) {
      return { ok: false, faults: [parseFault(source, site, summaryOf(error))] };
    }
  }

  #parse(source: string): Program {
    return this.#environment.parse(source) as unknown as Program;
  }

  #compile(source: string, site: ExpressionSite): ExpressionResult {
    const program = this.#parse(source);
    const root = program.ast as CelNode;
    dotBracketsInHas(root, this.#fieldAccess);
    const references = referencesOf(root);
    const faults = [...faultsOf(root, references, site, this.#patterns).take(maxFaults)];
    if (faults.length > 0) {
      const hyphen = hyphenFault(source, site);
      return { ok: false, faults: hyphen === undefined ? faults : [hyphen, ...faults] };
    }
    const checked = program.check();
    if (!checked.valid) return { ok: false, faults: [parseFault(source, site, summaryOf(checked.error))] };
    if (site.result === "bool" && checked.type !== "bool" && checked.type?.startsWith("dyn") !== true) {
      return refused(`it gives ${checked.type}`, "write a condition that gives true or false");
    }
    instrument(root, this.#meter, this.#patterns);
    return { ok: true, expression: new CheckedExpression(source, site, program, references, this.#meter) };
  }
}

/**
 * cel-js names a value's type by its first elements, all the way down, and keeps every name for ever: data would fill the memory.
 * One level is enough to choose an operator, and cheaper.
 */
function flattenRuntimeTypes(environment: Environment): void {
  const probe = environment.parse("0") as unknown as Program;
  (probe.ast as CelNode).evaluate = (evaluator: CelEvaluator) => {
    const typed = evaluator as CelEvaluator & { debugType: unknown; debugTypeDeep: unknown };
    typed.debugTypeDeep = typed.debugType;
    return 0n;
  };
  probe({});
}

class CheckedExpression implements Expression {
  readonly source: string;
  readonly field: string;
  readonly payloads: readonly number[];
  readonly steps: readonly number[];
  readonly passes: number | undefined;
  readonly #program: Program;
  readonly #meter: Meter;
  readonly #nodes: number;
  readonly #wantsBool: boolean;

  constructor(source: string, site: ExpressionSite, program: Program, references: readonly Reference[], meter: Meter) {
    const root = program.ast as CelNode;
    this.source = source;
    this.field = site.field;
    this.payloads = distinct(references.map((reference) => payloadOf(reference, site)));
    this.steps = distinct(references.map((reference) => stepOf(reference, site)));
    this.passes = site.result === "any" ? passedOn(root, site) : undefined;
    this.#program = program;
    this.#meter = meter;
    this.#nodes = nodeCount(root);
    this.#wantsBool = site.result === "bool";
  }

  evaluate(variables: Variables, budget?: RunBudget): Value {
    const value = this.#evaluate(variables, budget);
    if (this.#wantsBool && typeof value !== "boolean") {
      throw new MillraceError("InvalidInput", `${this.field} gave ${kindOf(value)}; it must give true or false`);
    }
    return value;
  }

  #evaluate(variables: Variables, budget: RunBudget | undefined): Value {
    const meter = this.#meter;
    const isLastOfRun = budget !== undefined && budget.left < maxCost;
    meter.start(isLastOfRun ? Math.max(0, budget.left) : maxCost);
    let value: unknown;
    try {
      meter.charge(this.#nodes);
      value = this.#program(variables);
    } catch (cause) {
      if (!meter.isExhausted) throw this.#failure(cause);
    } finally {
      budget?.spend(meter.spent);
    }
    if (!meter.isExhausted) return value as Value;
    const limit = isLastOfRun ? `${maxRunCost} units for all of a run` : `${maxCost} units for one evaluation`;
    throw new MillraceError(
      "InvalidInput",
      `${this.field} costs more than the limit of ${limit}; loop over less, or let a processor do it`,
    );
  }

  #failure(cause: unknown): MillraceError {
    const shown = this.source.length > 200 ? `${this.source.slice(0, 200)}…` : this.source;
    return new MillraceError("InvalidInput", `${this.field} failed: ${summaryOf(cause)}; the expression is: ${shown}`, {
      cause,
    });
  }
}

/** Whose payload the expression names and nothing else: `input`, `steps.NAME.output`. */
function passedOn(node: CelNode, site: ExpressionSite): number | undefined {
  const sole = soleReference(node);
  if (sole === undefined || sole.path.length !== (sole.root === "input" ? 0 : 2)) return undefined;
  return payloadOf(sole, site);
}

function payloadOf({ root, path }: Reference, site: ExpressionSite): number | undefined {
  if (root === "input") return executionInput;
  return root === "steps" && path[1] === "output" ? site.steps.get(path[0] ?? "") : undefined;
}

function stepOf({ root, path }: Reference, site: ExpressionSite): number | undefined {
  return root === "steps" ? site.steps.get(path[0] ?? "") : undefined;
}

function distinct(indexes: readonly (number | undefined)[]): number[] {
  return [...new Set(indexes)].filter((index) => index !== undefined);
}

function refused(message: string, mend: string): ExpressionResult {
  return { ok: false, faults: [{ message, mend }] };
}

/** One at a time: each may take its while, and nobody reads hundreds. */
function* faultsOf(
  root: CelNode,
  references: readonly Reference[],
  site: ExpressionSite,
  patterns: Patterns,
): Generator<ExpressionFault> {
  for (const reference of references) yield* referenceFaults(reference, site);
  yield* nameFaults(root);
  yield* callFaults(root, patterns);
}

function referenceFaults(reference: Reference, site: ExpressionSite): readonly ExpressionFault[] {
  const [key] = reference.path;
  switch (reference.root) {
    case "input":
      return [];
    case "parameters":
      return key === undefined || site.parameters.includes(key) ? [] : [unknownKey("parameter", key, site.parameters)];
    case "execution":
      return key === undefined || executionKeys.includes(key)
        ? []
        : [unknownKey("field of `execution`", key, executionKeys)];
    case "steps":
      return stepFaults(reference, site);
  }
}

function unknownKey(what: string, key: string, known: readonly string[]): ExpressionFault {
  const suggestion = closest(key, known);
  const list = known.length === 0 ? "none is declared" : `there are ${known.slice(0, 10).join(", ")}`;
  return {
    message: `there is no ${what} named ${key}`,
    mend: suggestion === undefined ? list : `write ${suggestion}; ${list}`,
  };
}

function stepFaults({ path }: Reference, site: ExpressionSite): readonly ExpressionFault[] {
  const [name, part] = path;
  if (name === undefined) {
    return [
      {
        message: "it does not name the step whose result it takes",
        mend: 'write steps.NAME.output or steps["NAME"].output with a constant name',
      },
    ];
  }
  const step = site.steps.get(name);
  if (step === undefined) return [unknownKey("step", name, [...site.steps.keys()])];
  if (!site.isAncestor(step)) return [notBefore(name, site)];
  if (part === "output" || part === "metadata") return [];
  const shown = part === undefined ? "all of a step" : `steps.${name}.${part}`;
  return [
    {
      message: `${shown} is not there to be read`,
      mend: `write ${accessTo(name)}.output or ${accessTo(name)}.metadata`,
    },
  ];
}

function notBefore(name: string, site: ExpressionSite): ExpressionFault {
  const message =
    name === site.step
      ? `step ${name} cannot read its own result`
      : `step ${name} does not come before step ${site.step}`;
  return { message, mend: name === site.step ? "take it from another step" : `add ${name} to dependsOn` };
}

/** How an expression names a step: a hyphen would be read as a subtraction. */
function accessTo(step: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(step) ? `steps.${step}` : `steps["${step}"]`;
}

function nameFaults(root: CelNode): readonly ExpressionFault[] {
  return boundNames(root)
    .filter((name) => rootVariables.some((variable) => variable === name))
    .map((name) => ({
      message: `${name} is a variable of every expression and cannot be bound again`,
      mend: "choose another name",
    }));
}

/** What cel-js offers beyond CEL and cannot be metered or has no use here; and patterns that no input can make right. */
function* callFaults(node: CelNode, patterns: Patterns): Generator<ExpressionFault> {
  yield* ownCallFaults(node, patterns);
  for (const child of childrenOf(node)) yield* callFaults(child, patterns);
}

function ownCallFaults(node: CelNode, patterns: Patterns): readonly ExpressionFault[] {
  if (node.op === "id" && node.args === "optional")
    return [{ message: "CEL's optional types are not available", mend: "ask by has() whether something is there" }];
  if (node.op !== "rcall") return [];
  const [name, , [first]] = node.args as [string, CelNode, CelNode[]];
  if (name === "json")
    return [{ message: "json() is not available", mend: "a payload of type application/json is a value already" }];
  if (name !== "matches" || first?.op !== "value" || typeof first.args !== "string") return [];
  try {
    patterns.addConstant(first.args);
    return [];
  } catch (error) {
    const message = `the pattern of matches() cannot be used: ${summaryOf(error)}`;
    return [{ message, mend: "write it in RE2's syntax, small, or let a processor match" }];
  }
}

/** `steps.a-b` where a step a-b exists: said before all else, for the other messages follow from it. */
function hyphenFault(source: string, site: ExpressionSite): ExpressionFault | undefined {
  for (const [, written = ""] of source.matchAll(/\bsteps\.([a-z0-9]+(?:-[a-z0-9]+)+)/g)) {
    const name = longestStep(written, site);
    if (name === undefined) continue;
    return {
      message: `steps.${written} is read as a subtraction, because of the hyphen`,
      mend: `write ${accessTo(name)}`,
    };
  }
  return undefined;
}

/** The step whose name, with a hyphen in it, `written` begins with. */
function longestStep(written: string, { steps }: ExpressionSite): string | undefined {
  for (let end = Math.min(written.length, maxStepNameLength); written.includes("-"); end--) {
    const name = written.slice(0, end);
    if (!name.includes("-")) return undefined;
    if (steps.has(name)) return name;
  }
  return undefined;
}

function parseFault(source: string, site: ExpressionSite, summary: string): ExpressionFault {
  const hyphen = hyphenFault(source, site);
  if (hyphen !== undefined) return hyphen;
  const mend = summary.includes("no matching overload")
    ? "correct the function's name or its arguments; docs/expressions.md lists what there is"
    : "correct the expression; its language is CEL";
  return { message: summary, mend };
}

/** The first line of what went wrong: cel-js adds the source with a marker. */
function summaryOf(error: unknown): string {
  if (!(error instanceof Error)) return "it threw what is no error";
  const line = error.message.split("\n", 1)[0] ?? "";
  return line.length > 300 ? `${line.slice(0, 300)}…` : line;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (typeof value === "bigint") return "an int";
  if (typeof value === "number") return "a double";
  if (typeof value === "string") return "a string";
  return Array.isArray(value) ? "a list" : "a map or another value";
}
