import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  type ParsedNode,
  parseAllDocuments,
  Scalar,
  visit,
} from "yaml";

/** A place in a file; lines and columns count from 1. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface SourceProblem extends Position {
  readonly message: string;
  readonly mend?: string;
  /** Warnings are about what the file would mean to others, such as kubectl. */
  readonly severity: "Error" | "Warning";
}

/** One value of a YAML or JSON file that still knows where it stands. */
export interface SourceValue {
  /** Plain JSON. */
  readonly value: unknown;
  /** Where a field such as `spec.steps[2].when` stands; of one that is not there, the nearest object around it. */
  position(path: string): Position;
  /** The values of the list in this field. */
  items(field: string): SourceValue[];
}

export interface ParsedSource {
  /** The documents without errors. */
  readonly values: readonly SourceValue[];
  readonly problems: readonly SourceProblem[];
}

/** How many nodes the aliases of a document may stand for; more is an "alias bomb" and refused. */
const maxAliasCount = 100;
/** Of one document: what comes after the first ones mostly follows from them. */
const maxSyntaxErrors = 3;
/** What kubectl, which reads YAML 1.1, takes for true and false, besides those words. */
const oldTrue = /^(?:y|Y|yes|Yes|YES|on|On|ON)$/;
const oldFalse = /^(?:n|N|no|No|NO|off|Off|OFF)$/;

/** Reads all documents of a YAML or JSON text. What cannot be read is a problem, never thrown. */
export function parseSource(text: string, file: string): ParsedSource {
  const lines = new LineCounter();
  const positionOf = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(1, line), column: Math.max(1, col) };
  };
  const problems: SourceProblem[] = [];
  const values: SourceValue[] = [];
  try {
    const documents = parseAllDocuments(text, {
      lineCounter: lines,
      prettyErrors: false,
      merge: true,
      uniqueKeys: false,
    });
    for (const document of Array.isArray(documents) ? documents : []) {
      readDocument(document, positionOf, values, problems);
    }
  } catch (error) {
    // Nested deeper than the parser's stack goes.
    problems.push({ ...positionOf(0), message: `cannot be read: ${messageOf(error)}`, severity: "Error" });
  }
  return { values, problems };
}

type PositionOf = (offset: number) => Position;
type ParsedDocument = Document.Parsed<ParsedNode>;

function readDocument(
  document: ParsedDocument,
  positionOf: PositionOf,
  values: SourceValue[],
  problems: SourceProblem[],
): void {
  const { contents, errors } = document;
  for (const error of errors.slice(0, maxSyntaxErrors)) {
    problems.push({ ...positionOf(error.pos[0]), message: `is no YAML: ${error.message}`, severity: "Error" });
  }
  const duplicates = findDuplicateKeys(document, positionOf);
  problems.push(...duplicates);
  if (errors.length > 0 || duplicates.length > 0 || contents === null) return;
  problems.push(...readOldBooleans(document, positionOf));
  try {
    const value: unknown = document.toJS({ maxAliasCount });
    if (value !== null) values.push(new DocumentValue(value, contents, document, positionOf));
  } catch (error) {
    const message = `cannot be read: ${messageOf(error)}`;
    problems.push({ ...positionOf(contents.range[0]), message, severity: "Error" });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The parser's own check compares each key with each other: minutes for a large map. Merge keys may be there twice. */
function findDuplicateKeys(document: ParsedDocument, positionOf: PositionOf): SourceProblem[] {
  const problems: SourceProblem[] = [];
  visit(document, {
    Map(_, { items }) {
      const seen = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        if (seen.has(key.value) && key.value !== "<<") {
          const position = positionOf(key.range?.[0] ?? 0);
          const message = "the same field is given twice";
          problems.push({ ...position, message, mend: "Keep one of the two.", severity: "Error" });
        }
        seen.add(key.value);
      }
    },
  });
  return problems;
}

/** Gives the words that YAML 1.1 takes for booleans the value that they have for kubectl, and warns of each. */
function readOldBooleans(document: ParsedDocument, positionOf: PositionOf): SourceProblem[] {
  const problems: SourceProblem[] = [];
  visit(document, {
    Scalar(key, node) {
      if (node.type !== Scalar.PLAIN || typeof node.value !== "string") return;
      const isTrue = oldTrue.test(node.value);
      if (!isTrue && !oldFalse.test(node.value)) return;
      const message = `kubectl reads ${node.value} without quotes as the boolean ${isTrue} (YAML 1.1)`;
      const mend = `Write "${node.value}" if it is a text, ${isTrue} if it is a boolean.`;
      problems.push({ ...positionOf(node.range?.[0] ?? 0), message, mend, severity: "Warning" });
      node.value = key === "key" ? String(isTrue) : isTrue;
    },
  });
  return problems;
}

class DocumentValue implements SourceValue {
  readonly value: unknown;
  readonly #node: Node;
  readonly #document: ParsedDocument;
  readonly #positionOf: PositionOf;

  constructor(value: unknown, node: Node, document: ParsedDocument, positionOf: PositionOf) {
    this.value = value;
    this.#node = node;
    this.#document = document;
    this.#positionOf = positionOf;
  }

  position(path: string): Position {
    let node: Node | undefined = this.#node;
    let offset = node.range?.[0] ?? 0;
    let rest = path;
    while (rest !== "" && node !== undefined) {
      const step = stepInto(this.#resolve(node), rest);
      if (step === undefined) break;
      ({ node, rest } = step);
      offset = step.offset;
    }
    return this.#positionOf(offset);
  }

  items(field: string): SourceValue[] {
    const node = isMap(this.#node) ? this.#node.get(field, true) : undefined;
    if (!isSeq(node)) return [];
    return node.items.flatMap((item) => {
      const resolved = this.#resolve(item as Node);
      if (resolved === undefined) return [];
      return new DocumentValue(
        resolved.toJS(this.#document, { maxAliasCount }),
        resolved,
        this.#document,
        this.#positionOf,
      );
    });
  }

  #resolve(node: Node): Node | undefined {
    return isAlias(node) ? node.resolve(this.#document) : node;
  }
}

interface Step {
  readonly node: Node | undefined;
  readonly offset: number;
  readonly rest: string;
}

/** From a node along the first part of a path: `[2]`, or a key, which may have dots in it (an annotation's, for example). */
function stepInto(node: Node | undefined, path: string): Step | undefined {
  if (isSeq(node)) return stepIntoItem(node.items as Node[], path);
  if (!isMap(node)) return undefined;
  const plain = path.replace(/^\./, "");
  const pairs = (node.items as Pair<Node, Node | null>[]).filter((pair) => beginsWithKey(plain, keyOf(pair)));
  const pair = pairs.toSorted((a, b) => keyOf(b).length - keyOf(a).length)[0];
  if (pair === undefined) return undefined;
  return { node: pair.value ?? undefined, offset: pair.key.range?.[0] ?? 0, rest: plain.slice(keyOf(pair).length) };
}

function stepIntoItem(items: readonly Node[], path: string): Step | undefined {
  const match = /^\[(\d+)\]/.exec(path);
  const node = match === null ? undefined : items[Number(match[1])];
  if (match === null || node === undefined) return undefined;
  return { node, offset: node.range?.[0] ?? 0, rest: path.slice(match[0].length) };
}

function keyOf(pair: Pair<Node, Node | null>): string {
  return isScalar(pair.key) ? String(pair.key.value) : "";
}

function beginsWithKey(path: string, key: string): boolean {
  if (key === "" || !path.startsWith(key)) return false;
  const next = path[key.length];
  return next === undefined || next === "." || next === "[";
}
