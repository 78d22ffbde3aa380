/** A node of cel-js's syntax tree, as far as the engine looks at it. Its `op` decides what `args` is. */
export interface CelNode {
  readonly op: string;
  readonly args: unknown;
  readonly meta: CelNodeMeta;
  /** Replaced by the meter; cel-js itself replaces it at the first evaluation. */
  evaluate: CelEvaluate;
  clone(operator: CelOperator, args: unknown): CelNode;
}

/** What cel-js makes a node from: how it is checked and evaluated. */
export interface CelOperator {
  readonly name: string;
  readonly check: unknown;
  readonly evaluate: CelEvaluate;
}

export interface CelNodeMeta {
  readonly check: unknown;
  /** What a macro expanded to; evaluated in the node's place. */
  readonly alternate?: CelNode;
  readonly macro?: CelMacro;
  readonly evaluate: CelEvaluate;
}

export interface CelMacro {
  readonly val?: CelNode;
  readonly exp?: CelNode;
  evaluate(evaluator: CelEvaluator, macro: CelMacro, context: unknown): unknown;
}

export interface CelEvaluator {
  run(node: CelNode, context: unknown): unknown;
}

export type CelEvaluate = (evaluator: CelEvaluator, node: CelNode, context: unknown) => unknown;

/** The variables that every expression has. */
export const rootVariables = ["input", "parameters", "steps", "execution"] as const;
export type RootVariable = (typeof rootVariables)[number];

/** The variables that the expressions of a fan-out have besides. */
export const itemVariables = ["item", "index"] as const;

/** A variable, and the constant keys that follow it: `steps.clean.output.pages[0]` is `steps`, `[clean, output, pages]`. */
export interface Reference {
  readonly root: RootVariable;
  readonly path: readonly string[];
  /** A key follows that is only known when the expression runs. */
  readonly dynamic: boolean;
}

/** The nodes that a node holds, as it was written. */
export function childrenOf(node: CelNode): readonly CelNode[] {
  const args = node.args;
  switch (node.op) {
    case "value":
    case "id":
    case "accuValue":
    case "accuInc":
      return [];
    case ".":
      return [(args as [CelNode, string])[0]];
    case "call":
      return (args as [string, CelNode[]])[1];
    case "rcall": {
      const [, receiver, rest] = args as [string, CelNode, CelNode[]];
      return [receiver, ...rest];
    }
    case "map":
      return (args as [CelNode, CelNode][]).flat();
    case "!_":
    case "-_":
    case "accuPush":
      return [args as CelNode];
    case "comprehension": {
      const { iterable, init, step } = args as { iterable: CelNode; init: CelNode; step: CelNode };
      return [iterable, init, step];
    }
    default:
      return args as CelNode[];
  }
}

/** How many nodes the expression has, as it was written. */
export function nodeCount(node: CelNode): number {
  let count = 1;
  for (const child of childrenOf(node)) count += nodeCount(child);
  return count;
}

/** Every use of a root variable, with the keys that follow it. */
export function referencesOf(node: CelNode): readonly Reference[] {
  const found: Reference[] = [];
  collect(node, found);
  return found;
}

function collect(node: CelNode, found: Reference[]): void {
  if (node.op !== "id" && node.op !== "." && node.op !== "[]") {
    for (const child of childrenOf(node)) collect(child, found);
    return;
  }
  const { base, path, dynamic } = chainOf(node);
  if (base.op === "id" && isRoot(base.args)) found.push({ root: base.args, path, dynamic: dynamic.length > 0 });
  else if (base !== node) collect(base, found);
  for (const key of dynamic) collect(key, found);
}

/** The reference that the whole expression is, if it is nothing else. */
export function soleReference(node: CelNode): Reference | undefined {
  const { base, path, dynamic } = chainOf(node);
  return base.op === "id" && isRoot(base.args) && dynamic.length === 0
    ? { root: base.args, path, dynamic: false }
    : undefined;
}

interface Chain {
  readonly base: CelNode;
  /** Up to the first key that is not constant. */
  readonly path: readonly string[];
  readonly dynamic: readonly CelNode[];
}

function chainOf(node: CelNode): Chain {
  const keys: (string | CelNode)[] = [];
  let base = node;
  while (base.op === "." || base.op === "[]") {
    const [left, right] = base.args as [CelNode, string | CelNode];
    keys.unshift(typeof right === "string" ? right : constantKey(right));
    base = left;
  }
  const firstDynamic = keys.findIndex((key) => typeof key !== "string");
  const path = (firstDynamic < 0 ? keys : keys.slice(0, firstDynamic)) as string[];
  return { base, path, dynamic: keys.filter((key) => typeof key !== "string") };
}

function constantKey(node: CelNode): string | CelNode {
  return node.op === "value" && typeof node.args === "string" ? node.args : node;
}

function isRoot(name: unknown): name is RootVariable {
  return rootVariables.some((root) => root === name);
}

/** Names that the expression binds: loop variables and `cel.bind`. */
export function boundNames(node: CelNode): readonly string[] {
  const names = childrenOf(node).flatMap(boundNames);
  if (node.op === "rcall" && (node.meta.alternate !== undefined || node.meta.macro !== undefined)) {
    const [, , [variable]] = node.args as [string, CelNode, CelNode[]];
    if (variable?.op === "id") names.push(String(variable.args));
  }
  return names;
}

/**
 * Lets `has()` take `steps["a-b"].output`: cel-js wants dots all the way down, where a key with a hyphen cannot be written.
 * Inside `has()` each constant key in brackets becomes the field access that it means. `fieldAccess` is that operator.
 */
export function dotBracketsInHas(node: CelNode, fieldAccess: CelOperator): void {
  for (const child of childrenOf(node)) dotBracketsInHas(child, fieldAccess);
  if (node.op !== "call") return;
  const [name, [argument]] = node.args as [string, CelNode[]];
  if (name !== "has" || argument === undefined) return;
  for (let access = argument; access.op === "."; access = (access.args as [CelNode])[0]) {
    const parts = access.args as [CelNode, string];
    const [left] = parts;
    if (left.op !== "[]") continue;
    const [target, key] = left.args as [CelNode, CelNode];
    if (typeof constantKey(key) === "string") parts[0] = left.clone(fieldAccess, [target, key.args]);
  }
}
