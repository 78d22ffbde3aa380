import type { AuthorResponse } from "../author.ts";
import type { Builtin } from "./builtin.ts";
import { jsonOf, maxInlineJsonBytes, textOf } from "./content.ts";
import { jsonList } from "./json-text.ts";
import { Refusal } from "./refusal.ts";

/** A built-in that makes one text of another and keeps the content type. */
function mapped(name: string, summary: string, map: (text: string) => string, example: Builtin["example"]): Builtin {
  return {
    name,
    summary,
    options: {},
    prepare: () => (request) => ({ payload: map(textOf(request.payload)), contentType: request.contentType }),
    example,
  };
}

const split: Builtin = {
  name: "text.split",
  summary: "Splits a text into a JSON list of strings.",
  options: {
    separator: { type: "string", description: "What separates the parts.", default: "\n" },
    trim: { type: "boolean", description: "Removes white space around each part.", default: false },
    skipEmpty: { type: "boolean", description: "Leaves out parts that are empty.", default: false },
  },
  prepare(options) {
    const separator = options.text("separator");
    return (request, _context, output) => {
      let parts = textOf(request.payload).split(separator);
      if (options.flag("trim")) parts = parts.map((part) => part.trim());
      if (options.flag("skipEmpty")) parts = parts.filter((part) => part !== "");
      return jsonList(parts, output);
    };
  },
  example: { options: { separator: ",", trim: true }, input: "a, b, c", output: ["a", "b", "c"] },
};

const join: Builtin = {
  name: "text.join",
  summary: "Joins a JSON list of strings, numbers and booleans into a text.",
  options: { separator: { type: "string", description: "What comes between two parts.", default: "\n" } },
  prepare(options) {
    const separator = options.text("separator");
    return (request, _context, output) => {
      const list = jsonOf(request.payload);
      if (!Array.isArray(list)) throw new Refusal("the payload is no JSON list");
      list.forEach((part, index) => {
        if (index > 0) output.put(separator);
        output.put(partOf(part, index));
      });
      return output.text;
    };
  },
  maxInlineBytes: maxInlineJsonBytes,
  example: { options: { separator: "-" }, input: ["a", "b", 3], output: "a-b-3" },
};

function partOf(part: unknown, index: number): string {
  if (typeof part === "string") return part;
  if (part === null || Array.isArray(part) || (typeof part === "object" && !("rawJSON" in part))) {
    throw new Refusal(`item ${index} of the list is no string, number or boolean`);
  }
  return JSON.stringify(part);
}

const count: Builtin = {
  name: "text.count",
  summary:
    "Counts bytes, characters (code points), words and lines: as JSON, and as metadata for an Analyze processor.",
  options: {},
  prepare: () => (request) => countsOf(textOf(request.payload), request.payload.byteLength),
  example: {
    input: "two words\nanother line\n",
    output: { bytes: 23, characters: 23, words: 4, lines: 2 },
    metadata: { bytes: "23", characters: "23", words: "4", lines: "2" },
  },
};

/** A last line without a line break counts. */
function countsOf(text: string, bytes: number): AuthorResponse {
  let characters = 0;
  let words = 0;
  let lines = 0;
  let inWord = false;
  for (const character of text) {
    characters += 1;
    if (character === "\n") lines += 1;
    const isSpace = character.trim() === "";
    if (!isSpace && !inWord) words += 1;
    inWord = !isSpace;
  }
  if (text !== "" && !text.endsWith("\n")) lines += 1;
  const counts = { bytes, characters, words, lines };
  const metadata = Object.fromEntries(Object.entries(counts).map(([name, value]) => [name, String(value)]));
  return { json: counts, metadata };
}

export const textBuiltins: readonly Builtin[] = [
  mapped("text.uppercase", "Makes letters upper case, in any script.", (text) => text.toUpperCase(), {
    input: "Grüße",
    output: "GRÜSSE",
  }),
  mapped("text.lowercase", "Makes letters lower case, in any script.", (text) => text.toLowerCase(), {
    input: "GRÜN",
    output: "grün",
  }),
  mapped("text.trim", "Removes white space from both ends.", (text) => text.trim(), {
    input: "  words \n",
    output: "words",
  }),
  split,
  join,
  count,
];
