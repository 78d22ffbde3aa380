import type { Json } from "../../../engine/payload.ts";
import type { BoundedOutput } from "./bounded-output.ts";
import type { Builtin } from "./builtin.ts";
import { isObject, jsonOf, maxInlineJsonBytes } from "./content.ts";
import { Refusal } from "./refusal.ts";

/** A rendered template is a list of these. */
type Node =
  | { readonly kind: "Text"; readonly text: string }
  | { readonly kind: "Value"; readonly path: readonly string[] }
  | { readonly kind: "Section"; readonly path: readonly string[]; readonly inverted: boolean; readonly nodes: Node[] };

/** Sections in sections multiply: how many nodes one rendering may visit. */
const maxVisits = 200_000;

const template: Builtin = {
  name: "text.template",
  summary:
    "Renders a logic-less template with the JSON payload as its data: Mustache's `{{name}}`, `{{a.b}}`, `{{.}}`, `{{#section}}…{{/section}}`, `{{^inverted}}…{{/inverted}}` and `{{! comment}}`, of which one alone on its line leaves no line; nothing is escaped, there are no partials and no functions.",
  options: {
    template: { type: "string", description: "The template.", required: true },
    contentType: { type: "string", description: "Of what is rendered.", default: "text/plain; charset=utf-8" },
  },
  prepare(options) {
    const nodes = parsed(options.text("template"));
    const contentType = options.text("contentType");
    return (request, _context, output) => {
      new Rendering(output).render(nodes, { value: jsonOf(request.payload), outer: undefined });
      return { payload: output.text, contentType };
    };
  },
  maxInlineBytes: maxInlineJsonBytes,
  example: {
    options: { template: "{{title}}:{{#words}} {{word}}={{count}}{{/words}}{{^words}} none{{/words}}" },
    input: {
      title: "Top",
      words: [
        { word: "mill", count: 3 },
        { word: "race", count: 2 },
      ],
    },
    output: "Top: mill=3 race=2",
  },
};

/**
 * A section's or a comment's tag that is alone on its line takes the line with it, as Mustache has it; else a tag is itself.
 * White space around the name is of the name here: told apart in the pattern, it would be tried in every division.
 */
const tags =
  /^[ \t]*\{\{(?<alone>[#^/!])(?<aloneName>[^{}]*)\}\}[ \t]*(?:\r?\n|(?![\s\S]))|\{\{(?<sigil>[#^/!]?)(?<name>[^{}]*)\}\}/gm;

function parsed(source: string): Node[] {
  const root: Node[] = [];
  const open: { readonly name: string; readonly nodes: Node[] }[] = [];
  let nodes = root;
  let from = 0;
  for (const match of source.matchAll(tags)) {
    const [tag] = match;
    const { alone, aloneName = "", sigil = alone, name: spaced = aloneName } = match.groups ?? {};
    const name = spaced.trim();
    if (match.index > from) nodes.push({ kind: "Text", text: source.slice(from, match.index) });
    from = match.index + tag.length;
    if (sigil === "!") continue;
    if (sigil === "/") {
      if (open.pop()?.name !== name)
        throw new Refusal(`option template: ${tag.trim()} closes no open section of that name`);
      nodes = open.at(-1)?.nodes ?? root;
      continue;
    }
    const path = pathOf(name, tag.trim());
    if (sigil === "") {
      nodes.push({ kind: "Value", path });
      continue;
    }
    const section: Node = { kind: "Section", path, inverted: sigil === "^", nodes: [] };
    nodes.push(section);
    open.push({ name, nodes: section.nodes });
    nodes = section.nodes;
  }
  const unclosed = open.at(-1);
  if (unclosed !== undefined) throw new Refusal(`option template: the section ${unclosed.name} is not closed`);
  nodes.push({ kind: "Text", text: source.slice(from) });
  return root;
}

/** `.` is the value at hand: an empty path. */
function pathOf(name: string, tag: string): string[] {
  if (name === ".") return [];
  if (!/^[^\s.#^/!&>=][^\s.]*(\.[^\s.]+)*$/.test(name)) {
    throw new Refusal(
      `option template: ${tag} has no name like title or book.title; there are no partials and no other tags`,
    );
  }
  return name.split(".");
}

/** A value that names are looked for in, and what is around it. */
interface Scope {
  readonly value: Json;
  readonly outer: Scope | undefined;
}

class Rendering {
  readonly #output: BoundedOutput;
  #visits = 0;

  constructor(output: BoundedOutput) {
    this.#output = output;
  }

  render(nodes: readonly Node[], scope: Scope): void {
    for (const node of nodes) {
      this.#visits += 1;
      if (this.#visits > maxVisits)
        throw new Refusal(`the template comes to more than ${maxVisits} parts with this payload`);
      if (node.kind === "Text") this.#output.put(node.text);
      else if (node.kind === "Value") this.#output.put(shown(this.#lookup(node.path, scope)));
      else this.#section(node, scope);
    }
  }

  #section(node: Extract<Node, { kind: "Section" }>, scope: Scope): void {
    const value = this.#lookup(node.path, scope);
    const isEmpty =
      value === undefined || value === null || value === false || (Array.isArray(value) && value.length === 0);
    if (isEmpty === !node.inverted) return;
    if (node.inverted) {
      this.render(node.nodes, scope);
      return;
    }
    for (const item of Array.isArray(value) ? (value as readonly Json[]) : [value as Json]) {
      this.#output.work(1);
      this.render(node.nodes, { value: item, outer: scope });
    }
  }

  /** The first name is looked for from the innermost scope outwards; only keys of the data are found, never a prototype's. */
  #lookup(path: readonly string[], innermost: Scope): Json | undefined {
    const [first] = path;
    this.#output.work(1 + path.length);
    if (first === undefined) return innermost.value;
    let scope: Scope | undefined = innermost;
    while (scope !== undefined && !has(scope.value, first)) {
      this.#output.work(1);
      scope = scope.outer;
    }
    let value: Json | undefined = scope?.value;
    for (const key of path) value = isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
    return value;
  }
}

function has(value: Json, key: string): boolean {
  return isObject(value) && Object.hasOwn(value, key);
}

function shown(value: Json | undefined): string {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

export const templateBuiltins: readonly Builtin[] = [template];
