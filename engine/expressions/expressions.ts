import { Environment } from "@marcbachmann/cel-js";
import { RE2JS } from "re2js";
import { MillraceError } from "../errors.ts";
import type { RunBudget } from "./cost.ts";
import { instrument, Meter, maxCost, maxRunCost } from "./cost.ts";
import { faultsOf, hyphenFault, parseFault, summaryOf } from "./expression-faults.ts";
import type { ExpressionFault, ExpressionSite, ResultKind } from "./expression-site.ts";
import { hasItem, isCacheKey, maxFaults } from "./expression-site.ts";
import { Inference } from "./inference.ts";
import type { Value } from "./json-values.ts";
import { Patterns } from "./patterns.ts";
import type { CelEvaluator, CelNode, CelOperator, Reference } from "./references.ts";
import { dotBracketsInHas, nodeCount, referencesOf, soleReference } from "./references.ts";
import { resultFault, wrongResult } from "./result-kinds.ts";
import type { Type, VariableTypes } from "./types.ts";

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
  /** Of a fan-out's run: its item and the item's index. Absent elsewhere. */
  readonly item?: Value;
  readonly index?: bigint;
}

/** A checked expression. Evaluation is synchronous and keeps nothing, so that any number of runs share it. */
export interface Expression {
  readonly source: string;
  /** Where it stands, from the spec on: `steps[2].when`. */
  readonly field: string;
  /** Whose `input` and `parameters` it sees: the Enter of its inlined Pipeline, or {@link executionInput}. `input` is that one's payload. */
  readonly frame: number;
  /** Whose payload to decode before it is evaluated: step indices, and {@link executionInput}. */
  readonly payloads: readonly number[];
  /** Which steps it names at all. */
  readonly steps: readonly number[];
  /** Set when it is nothing but a reference to this one's payload, which is then passed on as it is. */
  readonly passes: number | undefined;
  /** Of a cache's key: whether it looks at `input.value`. Only then what the step receives has to be decoded. */
  readonly readsInputValue: boolean;
  /**
   * Pays what it costs out of `budget`, if there is one. Throws MillraceError InvalidInput when it fails, costs too much,
   * or gives another kind of value than is wanted where it stands.
   */
  evaluate(variables: Variables, budget?: RunBudget): Value;
}

export type ExpressionResult =
  | { readonly ok: true; readonly expression: Expression; readonly type: Type }
  | { readonly ok: false; readonly faults: readonly ExpressionFault[] };

interface Program {
  (variables: object): unknown;
  check(): { readonly valid: boolean; readonly type?: string; readonly error?: unknown };
  readonly ast: unknown;
}

/** Parses, type-checks and meters expressions. They are written by tenants: see `adr/0001-metered-expressions.md`. */
export class ExpressionCompiler {
  readonly #environment = environment();
  readonly #itemEnvironment: Environment;
  readonly #meter = new Meter();
  readonly #patterns = new Patterns((pattern) => RE2JS.compile(pattern));
  readonly #fieldAccess: CelOperator;

  constructor() {
    this.#itemEnvironment = environment().registerVariable("item", "dyn").registerVariable("index", "int");
    for (const used of [this.#environment, this.#itemEnvironment]) flattenRuntimeTypes(used);
    const { meta } = parse(this.#environment, "input.x").ast as CelNode;
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

  #compile(source: string, site: ExpressionSite): ExpressionResult {
    const program = parse(hasItem(site) ? this.#itemEnvironment : this.#environment, source);
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
    const inferred = new Inference(root, site.types ?? noTypes);
    if (inferred.faults.length > 0) return { ok: false, faults: inferred.faults };
    const wrong = resultFault(checked.type ?? "dyn", inferred.type, site);
    if (wrong !== undefined) return { ok: false, faults: [wrong] };
    instrument(root, this.#meter, this.#patterns);
    const expression = new CheckedExpression(source, site, program, references, this.#meter);
    return { ok: true, expression, type: inferred.type };
  }
}

function environment(): Environment {
  return new Environment({
    unlistedVariablesAreDyn: false,
    homogeneousAggregateLiterals: false,
    limits: { maxDepth: 64 },
  })
    .registerVariable("input", "dyn")
    .registerVariable("parameters", "map<string, dyn>")
    .registerVariable("steps", "map<string, dyn>")
    .registerVariable("execution", "map<string, string>");
}

function parse(environment: Environment, source: string): Program {
  return environment.parse(source) as unknown as Program;
}

const noTypes: VariableTypes = new Map();

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
  readonly frame: number;
  readonly payloads: readonly number[];
  readonly steps: readonly number[];
  readonly passes: number | undefined;
  readonly readsInputValue: boolean;
  readonly #program: Program;
  readonly #meter: Meter;
  readonly #nodes: number;
  readonly #result: ResultKind;

  constructor(source: string, site: ExpressionSite, program: Program, references: readonly Reference[], meter: Meter) {
    const root = program.ast as CelNode;
    this.source = source;
    this.field = site.field;
    this.frame = site.frame;
    this.payloads = distinct(references.map((reference) => payloadOf(reference, site)));
    this.steps = distinct(references.map((reference) => stepOf(reference, site)));
    this.passes = site.result === "any" ? passedOn(root, site) : undefined;
    this.readsInputValue = isCacheKey(site) && references.some(readsReceivedValue);
    this.#program = program;
    this.#meter = meter;
    this.#nodes = nodeCount(root);
    this.#result = site.result;
  }

  evaluate(variables: Variables, budget?: RunBudget): Value {
    const value = this.#evaluate(variables, budget);
    const wrong = wrongResult(value, this.#result);
    if (wrong === undefined) return value;
    throw new MillraceError("InvalidInput", `${this.field} ${wrong}`);
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
  if (root === "input") return isCacheKey(site) ? undefined : site.frame;
  return root === "steps" && path[1] === "output" ? site.steps.get(path[0] ?? "") : undefined;
}

/** All of `input`, or a key of it that only the run knows, may be its value. */
function readsReceivedValue({ root, path: [key] }: Reference): boolean {
  return root === "input" && (key === undefined || key === "value");
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
