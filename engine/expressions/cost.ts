import type { LinearRegex, Patterns } from "./patterns.ts";
import type { CelEvaluate, CelEvaluator, CelMacro, CelNode } from "./references.ts";
import { childrenOf, nodeCount } from "./references.ts";

/** What one evaluation may cost; the API server's limit for one expression. `cost.md` has the prices. */
export const maxCost = 1_000_000;

/** What the expressions of one run may cost together, but those of earlier parts of the run. */
export const maxRunCost = 100_000_000;

/** After how much work a run lets others have their turn: some 20 ms, at worst 100. */
const turnCost = 1_000_000;

const charsPerUnit = 10;
const errorCost = 100;
const newPatternCost = 30;
const timeZoneCost = 1_000;
const durationCost = 20;
const maxDurationLength = 64;

/** What the expressions of one run have cost, and what they did since other work last had its turn. */
export class RunBudget {
  #left = maxRunCost;
  #sinceTurn = 0;

  get left(): number {
    return this.#left;
  }

  /** Whether it is time to let the event loop go round. Decided by the work done, not by the clock. */
  get isTurnOver(): boolean {
    return this.#sinceTurn >= turnCost;
  }

  startTurn(): void {
    this.#sinceTurn = 0;
  }

  spend(units: number): void {
    this.#left -= units;
    this.#sinceTurn += units;
  }

  /** Bytes decoded or encoded: each takes about the time of a unit, and costs the tenth that reading text does. */
  spendOnBytes(bytes: number): void {
    this.#left -= bytes / charsPerUnit;
    this.#sinceTurn += bytes;
  }
}

/** Counts what an evaluation costs. One meter serves many expressions, one evaluation at a time: evaluation is synchronous. */
export class Meter {
  /** Thrown when the limit is passed, and at once by whatever is metered after that: `||` and `exists` swallow errors. */
  readonly exhausted = new Error("cost limit exceeded");
  #limit = maxCost;
  #left = maxCost;

  start(limit: number): void {
    this.#limit = limit;
    this.#left = limit;
  }

  /** Since the start. */
  get spent(): number {
    return this.#limit - this.#left;
  }

  get isExhausted(): boolean {
    return this.#left < 0;
  }

  charge(units: number): void {
    this.#left -= units;
    if (this.#left < 0) throw this.exhausted;
  }

  /** Charges for a walk through the whole value, and walks no further than the limit. */
  chargeWalk(value: unknown): void {
    const isText = typeof value === "string" || value instanceof Uint8Array;
    this.charge(isText ? 1 + value.length / charsPerUnit : 1);
    if (Array.isArray(value)) for (const item of value) this.chargeWalk(item);
    else if (value instanceof Map) for (const item of value.values()) this.chargeWalk(item);
  }
}

/**
 * Makes every later evaluation of a checked syntax tree pay into the meter. Each node is evaluated at most once, but for
 * the bodies of comprehensions: so the caller charges the number of nodes once, a comprehension charges items × nodes of
 * its body before it starts, and what works in proportion to a value's size charges for that size before it does.
 */
export function instrument(root: CelNode, meter: Meter, patterns: Patterns): void {
  const node = root.meta.alternate ?? root;
  const macro = node.meta.macro;
  const children = macro === undefined ? childrenOf(node) : [macro.val, macro.exp].filter((part) => part !== undefined);
  for (const child of children) instrument(child, meter, patterns);
  if (macro !== undefined) return;
  const metered = meteredEvaluate(node, meter, patterns);
  if (metered !== undefined) node.evaluate = metered;
}

function meteredEvaluate(node: CelNode, meter: Meter, patterns: Patterns): CelEvaluate | undefined {
  switch (node.op) {
    case "comprehension":
      return comprehension(node, meter);
    case "call":
      return functionCall(meter);
    case "rcall":
      return methodCall(node, meter, patterns);
    case "map":
      return mapLiteral;
    case "||":
    case "&&":
      payForErrors((node.args as [CelNode, CelNode])[0], meter);
      return undefined;
    case "+":
    case "==":
    case "!=":
    case "in":
    case "<":
    case "<=":
    case ">":
    case ">=":
      return binary(node.op, meter);
    default:
      return undefined;
  }
}

/** What the node did before: of the ways that cel-js has, the one that it would choose at the first evaluation. */
function evaluationOf(node: CelNode): CelEvaluate {
  if (Object.hasOwn(node, "evaluate")) return node.evaluate;
  const { alternate, macro, evaluate } = node.meta;
  if (alternate !== undefined) return (evaluator, _node, context) => evaluator.run(alternate, context);
  if (macro !== undefined)
    return (evaluator: CelEvaluator, _node, context) => (macro as CelMacro).evaluate(evaluator, macro, context);
  return evaluate;
}

/** Where errors are swallowed, each has its price: making one is dear. */
function payForErrors(node: CelNode, meter: Meter): void {
  const evaluate = evaluationOf(node);
  node.evaluate = (evaluator, self, context) => {
    if (meter.isExhausted) throw meter.exhausted;
    try {
      return evaluate(evaluator, self, context);
    } catch (error) {
      meter.charge(errorCost);
      throw error;
    }
  };
}

interface ComprehensionNode {
  readonly args: { readonly iterable: CelNode; readonly step: CelNode };
  handle(items: unknown, args: unknown, evaluator: CelEvaluator, context: unknown): unknown;
}

function comprehension(node: CelNode, meter: Meter): CelEvaluate {
  const { step } = (node as unknown as ComprehensionNode).args;
  const bodyCost = nodeCount(step);
  payForErrors(step, meter);
  return (evaluator, self, context) => {
    const comprehension = self as unknown as ComprehensionNode;
    const items = evaluator.run(comprehension.args.iterable, context);
    meter.charge(itemCount(items) * bodyCost);
    return comprehension.handle(items, comprehension.args, evaluator, context);
  };
}

function itemCount(items: unknown): number {
  if (Array.isArray(items)) return items.length;
  return items instanceof Map ? items.size : 0;
}

interface BinaryNode {
  readonly left: CelNode;
  readonly right: CelNode;
  handle(left: unknown, right: unknown, node: CelNode, evaluator: CelEvaluator): unknown;
}

function binary(op: string, meter: Meter): CelEvaluate {
  const charge = op === "+" ? chargeJoin : op === "in" ? chargeMembership : chargeComparison;
  return (evaluator, self, context) => {
    const node = self as unknown as BinaryNode;
    const left = evaluator.run(node.left, context);
    const right = evaluator.run(node.right, context);
    if (typeof right === "string" || typeof right === "object") charge(meter, left, right);
    return node.handle(left, right, self, evaluator);
  };
}

function chargeJoin(meter: Meter, left: unknown, right: unknown): void {
  meter.charge(sizeCost(left) + sizeCost(right));
}

function chargeMembership(meter: Meter, _left: unknown, right: unknown): void {
  if (Array.isArray(right)) meter.chargeWalk(right);
}

function chargeComparison(meter: Meter, left: unknown, right: unknown): void {
  if (typeof left === "string" && typeof right === "string") {
    meter.charge(Math.min(left.length, right.length) / charsPerUnit);
  } else if (typeof left === "object" && left !== null && right !== null) meter.chargeWalk(left);
}

/** What it costs to copy or scan a value once, without what its items hold. */
function sizeCost(value: unknown): number {
  if (typeof value === "string" || value instanceof Uint8Array) return value.length / charsPerUnit;
  return Array.isArray(value) ? value.length : 0;
}

interface CallNode {
  readonly args: readonly [string, readonly CelNode[]];
  handle(args: unknown[], node: CelNode, evaluator: CelEvaluator): unknown;
}

function functionCall(meter: Meter): CelEvaluate {
  return (evaluator, self, context) => {
    const node = self as unknown as CallNode;
    const args = node.args[1].map((argument) => evaluator.run(argument, context));
    for (const argument of args) if (!Array.isArray(argument)) meter.charge(sizeCost(argument));
    if (node.args[0] === "duration") {
      meter.charge(durationCost);
      refuseLongDuration(args[0]);
    }
    return node.handle(args, self, evaluator);
  };
}

/** cel-js reads durations with a pattern that takes cubic time. */
function refuseLongDuration(text: unknown): void {
  if (typeof text === "string" && text.length > maxDurationLength) {
    throw new Error(`duration() takes at most ${maxDurationLength} characters`);
  }
}

interface MethodNode {
  readonly receiverWithArgs: readonly CelNode[];
  handle(args: unknown[], evaluator: CelEvaluator, node: CelNode): unknown;
}

function methodCall(node: CelNode, meter: Meter, patterns: Patterns): CelEvaluate {
  const [name] = node.args as [string];
  const matches = name === "matches" ? linearMatches(meter, patterns) : undefined;
  return (evaluator, self, context) => {
    const method = self as unknown as MethodNode;
    const args = method.receiverWithArgs.map((argument) => evaluator.run(argument, context));
    const [receiver, first] = args;
    if (matches !== undefined && typeof receiver === "string" && typeof first === "string")
      return matches(receiver, first);
    chargeMethod(meter, name, receiver, first);
    return method.handle(args, evaluator, self);
  };
}

function chargeMethod(meter: Meter, name: string, receiver: unknown, argument: unknown): void {
  if (typeof receiver === "string") meter.charge(textMethodCost(name, receiver.length, sizeCost(argument)));
  else if (name === "join") chargeJoinList(meter, receiver, argument);
  else if (name.startsWith("get") && typeof argument === "string") meter.charge(timeZoneCost);
  else if (receiver instanceof Uint8Array) meter.charge(sizeCost(receiver));
}

/** V8 searches text by text in linear time only as a rule: at worst it compares each character with each. */
function textMethodCost(name: string, length: number, argumentCost: number): number {
  const once = length / charsPerUnit + argumentCost;
  switch (name) {
    case "contains":
    case "indexOf":
    case "lastIndexOf":
      return once + (length * argumentCost) / 100;
    case "split":
      return once + length + (length * argumentCost) / 100;
    default:
      return once;
  }
}

function chargeJoinList(meter: Meter, list: unknown, separator: unknown): void {
  meter.chargeWalk(list);
  if (Array.isArray(list)) meter.charge(list.length * sizeCost(separator));
}

/** Keeps the program of the last pattern that was not constant: in a loop it is the same each time. */
function linearMatches(meter: Meter, patterns: Patterns): (text: string, pattern: string) => boolean {
  let lastPattern: string | undefined;
  let lastRegex: LinearRegex | undefined;
  const charge = (size: number) => meter.charge(size * newPatternCost);
  return (text, pattern) => {
    let regex = patterns.constant(pattern);
    if (regex === undefined) {
      if (pattern !== lastPattern || lastRegex === undefined) {
        lastRegex = patterns.compile(pattern, charge);
        lastPattern = pattern;
      }
      regex = lastRegex;
    }
    meter.charge(1 + (text.length * regex.programSize()) / 20);
    return regex.test(text);
  };
}

/** A map literal as a Map: in a plain object the keys `__proto__` and `constructor` would be lost. */
function mapLiteral(evaluator: CelEvaluator, self: CelNode, context: unknown): Map<unknown, unknown> {
  const map = new Map<unknown, unknown>();
  for (const [keyNode, valueNode] of self.args as [CelNode, CelNode][]) {
    const key = evaluator.run(keyNode, context);
    if (typeof key === "object" || typeof key === "number")
      throw new Error("a map's key must be a string, an int or a bool");
    map.set(key, evaluator.run(valueNode, context));
  }
  return map;
}
