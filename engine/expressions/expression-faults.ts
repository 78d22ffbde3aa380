import { closest } from "../names.ts";
import type { ExpressionFault, ExpressionSite } from "./expression-site.ts";
import { hasItem, isCacheKey } from "./expression-site.ts";
import type { Patterns } from "./patterns.ts";
import type { CelNode, Reference } from "./references.ts";
import { boundNames, childrenOf, itemVariables, rootVariables } from "./references.ts";

/** A DNS label's: no name is longer. */
const maxStepNameLength = 63;

const executionKeys = ["name", "namespace", "uid", "state"];

/** What `input` has in a cache's key. */
const receivedKeys = ["digest", "contentType", "size", "value"];

/** One at a time: each may take its while, and nobody reads hundreds. */
export function* faultsOf(
  root: CelNode,
  references: readonly Reference[],
  site: ExpressionSite,
  patterns: Patterns,
): Generator<ExpressionFault> {
  for (const reference of references) yield* referenceFaults(reference, site);
  yield* nameFaults(root, site);
  yield* callFaults(root, patterns);
}

function referenceFaults(reference: Reference, site: ExpressionSite): readonly ExpressionFault[] {
  const [key] = reference.path;
  switch (reference.root) {
    case "input":
      return !isCacheKey(site) || key === undefined || receivedKeys.includes(key)
        ? []
        : [unknownKey("field of `input` in a cache's key", key, receivedKeys)];
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
  const visibility = site.visibility(step);
  if (visibility !== "Visible") return [visibility === "Finally" ? notYet(name) : notBefore(name, site)];
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

function notYet(name: string): ExpressionFault {
  const message = `step ${name} is one of \`finally\`, which run when all of \`steps\` have ended`;
  return { message, mend: "take it from a step of `steps`; only those of `finally` may name each other" };
}

/** How an expression names a step: a hyphen would be read as a subtraction. */
function accessTo(step: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(step) ? `steps.${step}` : `steps["${step}"]`;
}

/** `item` and `index` are names like others where they are no variables. */
function nameFaults(root: CelNode, site: ExpressionSite): readonly ExpressionFault[] {
  const ofItems: readonly string[] = hasItem(site) ? itemVariables : [];
  return boundNames(root).flatMap((name) => {
    const isOfItems = ofItems.includes(name);
    if (!isOfItems && !rootVariables.some((variable) => variable === name)) return [];
    const where = isOfItems ? "the expressions of a step with forEach" : "every expression";
    return [{ message: `${name} is a variable of ${where} and cannot be bound again`, mend: "choose another name" }];
  });
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
export function hyphenFault(source: string, site: ExpressionSite): ExpressionFault | undefined {
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

export function parseFault(source: string, site: ExpressionSite, summary: string): ExpressionFault {
  const hyphen = hyphenFault(source, site);
  if (hyphen !== undefined) return hyphen;
  const [, unknown] = /^Unknown variable: (\S+)/.exec(summary) ?? [];
  if (itemVariables.some((name) => name === unknown)) return itemElsewhere(unknown ?? "", site);
  const mend = summary.includes("no matching overload")
    ? "correct the function's name or its arguments; docs/expressions.md lists what there is"
    : "correct the expression; its language is CEL";
  return { message: summary, mend };
}

function itemElsewhere(name: string, { field }: ExpressionSite): ExpressionFault {
  const message = `${name} is not known in ${field}`;
  const mend =
    "it is there in input, optionsExpression and cache.key of a step with forEach; elsewhere take the list itself";
  return { message, mend };
}

/** The first line of what went wrong: cel-js adds the source with a marker. */
export function summaryOf(error: unknown): string {
  if (!(error instanceof Error)) return "it threw what is no error";
  const line = error.message.split("\n", 1)[0] ?? "";
  return line.length > 300 ? `${line.slice(0, 300)}…` : line;
}
