import { type Json, jsonType } from "../../../engine/payload.ts";
import type { AuthorResult } from "../author.ts";
import type { BoundedOutput } from "./bounded-output.ts";
import { isObject } from "./content.ts";

/** A JSON list, written piece by piece. @throws OutputOverflow, WorkOverflow */
export function jsonList(items: Iterable<Json>, output: BoundedOutput): AuthorResult {
  let before = "[";
  for (const item of items) {
    output.put(before);
    writeJson(item, "", output);
    before = ",";
  }
  output.put(before === "[" ? "[]" : "]");
  return { payload: output.text, contentType: jsonType };
}

/** A JSON object, written value by value. @throws OutputOverflow, WorkOverflow */
export function jsonObject(entries: Iterable<readonly [string, Json]>, output: BoundedOutput): AuthorResult {
  let before = "{";
  for (const [key, value] of entries) {
    output.put(`${before}${JSON.stringify(key)}:`);
    output.put(JSON.stringify(value));
    before = ",";
  }
  output.put(before === "{" ? "{}" : "}");
  return { payload: output.text, contentType: jsonType };
}

/**
 * The text that `JSON.stringify` gives, piece by piece: parts of a value may be shared, and indents grow with the square of
 * the nesting.
 * @param indent white space for each level; empty: all on one line
 * @throws OutputOverflow, WorkOverflow
 */
export function writeJson(value: Json, indent: string, output: BoundedOutput): void {
  write(value, { indent, colon: indent === "" ? ":" : ": " }, indent === "" ? "" : "\n", output);
}

interface Layout {
  readonly indent: string;
  readonly colon: string;
}

/** @param line what a line begins with at this level */
function write(value: Json, layout: Layout, line: string, output: BoundedOutput): void {
  const inner = line + layout.indent;
  if (Array.isArray(value) && value.length > 0) {
    let before = "[";
    for (const item of value as readonly Json[]) {
      output.put(before + inner);
      write(item, layout, inner, output);
      before = ",";
    }
    output.put(`${line}]`);
  } else if (isObject(value) && Object.keys(value).length > 0) {
    let before = "{";
    for (const [key, item] of Object.entries(value)) {
      output.put(`${before}${inner}${JSON.stringify(key)}${layout.colon}`);
      write(item, layout, inner, output);
      before = ",";
    }
    output.put(`${line}}`);
  } else {
    output.put(JSON.stringify(value));
  }
}
