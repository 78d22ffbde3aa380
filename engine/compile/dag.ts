/** A node as it is written down: its name and the names of those that come before it. */
export interface DagNode {
  readonly name: string;
  readonly dependsOn: readonly string[];
}

/** A directed graph without cycles; nodes are indices in the order in which they were given. */
export interface Dag {
  /** By node: those that come before it, each once, in the order given. */
  readonly dependencies: readonly (readonly number[])[];
  /** By node: those that come after it, ascending. */
  readonly dependents: readonly (readonly number[])[];
  /** All nodes, each after its dependencies; among equals in the order given. */
  readonly order: readonly number[];
}

/** How long and how wide a graph is, in nodes. */
export interface DagShape {
  /** The number of nodes on the longest path. */
  readonly levels: number;
  /** The number of nodes on the widest level; a node's level is the longest path that leads to it. */
  readonly width: number;
}

/** Why a list of nodes is no Dag. `node` and `edge` are indices: into the nodes, and into that node's `dependsOn`. */
export type DagFault =
  | { readonly kind: "Duplicate"; readonly node: number; readonly first: number }
  | { readonly kind: "Missing"; readonly node: number; readonly edge: number }
  /** The nodes of the cycle; the last depends on the first, each other on the next. */
  | { readonly kind: "Cycle"; readonly cycle: readonly number[] };

export type DagResult =
  | { readonly ok: true; readonly dag: Dag }
  | { readonly ok: false; readonly faults: readonly DagFault[] };

/** Builds the graph and checks it; gives every fault, of cycles one for each group of nodes that hang together. */
export function buildDag(nodes: readonly DagNode[]): DagResult {
  const faults: DagFault[] = [];
  const indexes = indexNames(nodes, faults);
  const dependencies = nodes.map((node, index) => resolveEdges(node, index, indexes, faults));
  const dependents = invert(dependencies);
  const order = topologicalOrder(dependencies, dependents);
  if (order.length < nodes.length) faults.push(...findCycles(dependencies, order));
  if (faults.length > 0) return { ok: false, faults };
  return { ok: true, dag: dagOf(dependencies) };
}

/** The graph of edges that are known to make no cycle. */
export function dagOf(dependencies: readonly (readonly number[])[]): Dag {
  const dependents = invert(dependencies);
  return { dependencies, dependents, order: topologicalOrder(dependencies, dependents) };
}

function indexNames(nodes: readonly DagNode[], faults: DagFault[]): ReadonlyMap<string, number> {
  const indexes = new Map<string, number>();
  for (const [node, { name }] of nodes.entries()) {
    const first = indexes.get(name);
    if (first === undefined) indexes.set(name, node);
    else faults.push({ kind: "Duplicate", node, first });
  }
  return indexes;
}

function resolveEdges(
  node: DagNode,
  index: number,
  indexes: ReadonlyMap<string, number>,
  faults: DagFault[],
): number[] {
  const resolved = new Set<number>();
  for (const [edge, name] of node.dependsOn.entries()) {
    const target = indexes.get(name);
    if (target === undefined) faults.push({ kind: "Missing", node: index, edge });
    else resolved.add(target);
  }
  return [...resolved];
}

function invert(dependencies: readonly (readonly number[])[]): number[][] {
  const dependents: number[][] = dependencies.map(() => []);
  for (const [node, before] of dependencies.entries()) {
    for (const dependency of before) dependents[dependency]?.push(node);
  }
  return dependents;
}

/** Kahn's algorithm; leaves out what lies on or behind a cycle. */
function topologicalOrder(
  dependencies: readonly (readonly number[])[],
  dependents: readonly (readonly number[])[],
): number[] {
  const open = dependencies.map((before) => before.length);
  const order = [...open.keys()].filter((node) => open[node] === 0);
  for (const node of order) {
    for (const dependent of dependents[node] ?? []) {
      const left = (open[dependent] ?? 0) - 1;
      open[dependent] = left;
      if (left === 0) order.push(dependent);
    }
  }
  return order;
}

/** From each node that could not be ordered, walks up until a node comes again: that is a cycle. Each node is named in one at most. */
function findCycles(dependencies: readonly (readonly number[])[], ordered: readonly number[]): DagFault[] {
  const done = new Set(ordered);
  const faults: DagFault[] = [];
  for (const start of dependencies.keys()) {
    const path: number[] = [];
    let node: number | undefined = start;
    while (node !== undefined && !done.has(node) && !path.includes(node)) {
      path.push(node);
      node = dependencies[node]?.find((dependency) => !done.has(dependency));
    }
    if (node !== undefined && !done.has(node)) faults.push({ kind: "Cycle", cycle: path.slice(path.indexOf(node)) });
    for (const seen of path) done.add(seen);
  }
  return faults;
}

/** Measures the graph; a node that `counts` says no to takes no place on a path. */
export function shapeOf({ dependencies, order }: Dag, counts: (node: number) => boolean): DagShape {
  const ends: number[] = dependencies.map(() => 0);
  const sizes: number[] = [];
  for (const node of order) {
    const level = (dependencies[node] ?? []).reduce((longest, before) => Math.max(longest, ends[before] ?? 0), 0);
    ends[node] = counts(node) ? level + 1 : level;
    if (counts(node)) sizes[level] = (sizes[level] ?? 0) + 1;
  }
  return { levels: sizes.length, width: sizes.reduce((widest, size) => Math.max(widest, size), 0) };
}

/** By node: how many nodes that count the longest path from it to a sink has, itself included. */
export function pathLengths({ dependents, order }: Dag, counts: (node: number) => boolean): readonly number[] {
  const lengths: number[] = dependents.map(() => 0);
  for (const node of order.toReversed()) {
    const rest = (dependents[node] ?? []).reduce((longest, after) => Math.max(longest, lengths[after] ?? 0), 0);
    lengths[node] = counts(node) ? rest + 1 : rest;
  }
  return lengths;
}

/** Which nodes a path leads from to which. Filled in when it is first asked, in one pass over the edges with a bit for each pair. */
export class Ancestry {
  readonly #dag: Dag;
  readonly #words: number;
  #bits: Uint32Array | undefined;

  constructor(dag: Dag) {
    this.#dag = dag;
    this.#words = Math.ceil(dag.order.length / 32);
  }

  /** Whether a path leads from `ancestor` to `node`; none does from a node to itself. */
  isAncestor(ancestor: number, node: number): boolean {
    this.#bits ??= this.#fill();
    return (((this.#bits[node * this.#words + (ancestor >>> 5)] ?? 0) >>> (ancestor & 31)) & 1) === 1;
  }

  #fill(): Uint32Array {
    const words = this.#words;
    const bits = new Uint32Array(words * this.#dag.order.length);
    for (const node of this.#dag.order) {
      const own = node * words;
      for (const dependency of this.#dag.dependencies[node] ?? []) {
        const other = dependency * words;
        for (let word = 0; word < words; word++) bits[own + word] = (bits[own + word] ?? 0) | (bits[other + word] ?? 0);
        const at = own + (dependency >>> 5);
        bits[at] = (bits[at] ?? 0) | (1 << (dependency & 31));
      }
    }
    return bits;
  }
}
