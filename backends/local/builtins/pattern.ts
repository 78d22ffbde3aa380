import { type Matcher, RE2JS, RE2JSException } from "re2js";
import type { Json } from "../../../engine/payload.ts";
import type { BoundedOutput } from "./bounded-output.ts";
import type { Builtin } from "./builtin.ts";
import { record, textOf } from "./content.ts";
import { jsonList } from "./json-text.ts";
import type { OptionSpecs, Options } from "./options.ts";
import { Refusal } from "./refusal.ts";

/** A search in linear time is still a hundred times dearer than a copy. */
const mostInlineBytes = 4 * 1024;

/** What a search takes is the pattern's size times the text's, and each group is dragged along; some 20 ns each. */
const maxInlineSteps = 250_000;

/** Compiling takes about a microsecond for each. */
const maxInlineSize = 1000;

/** A set of characters, above all one of Unicode's, is as dear to compile as so many characters. */
const setSize = 40;

/** RE2 refuses what nests to more repetitions. */
const maxRepetitions = 1000;

function maxInlineBytes(options: Options): number {
  const pattern = options.text("pattern");
  const isLiteral = options.flag("literal");
  const size = Math.max(1, isLiteral ? pattern.length : pattern.length * repetitionsOf(pattern));
  const sets = isLiteral ? 0 : (pattern.match(/\[|\\[pPdDwWsS]|\./g)?.length ?? 0);
  if (size + setSize * sets > maxInlineSize) return -1;
  const groups = pattern.split("(").length;
  return Math.min(mostInlineBytes, Math.floor(maxInlineSteps / (size * groups)));
}

/** By how much a pattern grows when it is compiled, at most; compiling `(a{1000}b)?` sixty times takes a second to find that out. */
function repetitionsOf(pattern: string): number {
  let repetitions = 1;
  for (const [, least = "", most = ""] of pattern.matchAll(/\{(\d+)(?:,(\d*))?\}/g)) {
    repetitions = Math.min(maxRepetitions, repetitions * Math.max(Number(least) + 1, Number(most)));
  }
  return repetitions;
}

const searchOptions: OptionSpecs = {
  pattern: {
    type: "string",
    description: "A regular expression in RE2's syntax: linear time, no back-references.",
    required: true,
  },
  ignoreCase: { type: "boolean", description: "Takes upper and lower case for the same.", default: false },
};

const replace: Builtin = {
  name: "text.replace",
  summary: "Replaces every match of a regular expression, or of a text taken literally.",
  options: {
    ...searchOptions,
    replacement: {
      type: "string",
      description: "In it `$1` and `$<name>` are groups, and `$$` is a dollar.",
      default: "",
    },
    literal: { type: "boolean", description: "Takes pattern and replacement as they are.", default: false },
  },
  maxInlineBytes,
  prepare(options) {
    const literal = options.flag("literal");
    const pattern = compiled(options, literal ? RE2JS.quote(options.text("pattern")) : options.text("pattern"));
    const replacement = options.text("replacement");
    const parts = literal ? [replacement] : partsOf(replacement, pattern);
    return (request, _context, output) => ({
      payload: replaced(textOf(request.payload), pattern, parts, output),
      contentType: request.contentType,
    });
  },
  example: {
    options: { pattern: "(\\w+)@(?P<host>\\w+)", replacement: "$<host>: $1" },
    input: "ann@home bob@work",
    output: "home: ann work: bob",
  },
};

const extract: Builtin = {
  name: "text.extract",
  summary: "Gives what a regular expression matches, as a JSON list.",
  options: {
    ...searchOptions,
    all: {
      type: "boolean",
      description: "All matches; false: the first alone, and null where there is none.",
      default: true,
    },
  },
  maxInlineBytes,
  prepare(options) {
    const pattern = compiled(options, options.text("pattern"));
    const isAll = options.flag("all");
    return (request, _context, output) => {
      const matches = matchesOf(textOf(request.payload), pattern);
      return isAll ? jsonList(matches, output) : { json: matches.next().value ?? null };
    };
  },
  example: {
    options: { pattern: "(?P<key>\\w+)=(?P<value>\\d+)" },
    input: "a=1, b=22",
    output: [
      { key: "a", value: "1" },
      { key: "b", value: "22" },
    ],
  },
};

function compiled(options: Options, pattern: string): RE2JS {
  try {
    return RE2JS.compile(pattern, options.flag("ignoreCase") ? RE2JS.CASE_INSENSITIVE : 0);
  } catch (error) {
    if (error instanceof RE2JSException) throw new Refusal(`option pattern: ${error.message}`);
    throw error;
  }
}

/** A literal text, or a group by number or name. */
type Part = string | { readonly group: number | string };

function partsOf(replacement: string, pattern: RE2JS): Part[] {
  const parts: Part[] = [];
  let from = 0;
  for (const match of replacement.matchAll(/\$(?:\$|(\d{1,2})|<(\w+)>)?/g)) {
    parts.push(replacement.slice(from, match.index));
    parts.push(partOf(match, pattern));
    from = match.index + match[0].length;
  }
  parts.push(replacement.slice(from));
  return parts.filter((part) => part !== "");
}

function partOf(match: RegExpExecArray, pattern: RE2JS): Part {
  const [text, number, name] = match;
  if (text === "$$") return "$";
  const isKnown =
    number === undefined
      ? name !== undefined && Object.hasOwn(pattern.namedGroups(), name)
      : Number(number) <= pattern.groupCount();
  if (!isKnown) throw new Refusal(`option replacement: ${text} is no group of the pattern; write $$ for a dollar`);
  return { group: name ?? Number(number) };
}

function replaced(text: string, pattern: RE2JS, parts: readonly Part[], output: BoundedOutput): string {
  const matcher = pattern.matcher(text);
  let from = 0;
  while (matcher.find()) {
    output.put(text.slice(from, matcher.start()));
    for (const part of parts) output.put(typeof part === "string" ? part : (matcher.group(part.group) ?? ""));
    from = matcher.end();
  }
  output.put(text.slice(from));
  return output.text;
}

function* matchesOf(text: string, pattern: RE2JS): Generator<Json, undefined> {
  const matcher = pattern.matcher(text);
  while (matcher.find()) yield matchOf(matcher, pattern);
}

/** Named groups: an object. One group: its text. Several: a list. None: the whole match. */
function matchOf(matcher: Matcher, pattern: RE2JS): Json {
  const names = Object.keys(pattern.namedGroups());
  if (names.length > 0) return record(names.map((name) => [name, matcher.group(name)]));
  const groups = pattern.groupCount();
  if (groups <= 1) return matcher.group(groups);
  return Array.from({ length: groups }, (_, index) => matcher.group(index + 1));
}

export const patternBuiltins: readonly Builtin[] = [replace, extract];
