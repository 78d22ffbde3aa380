import type { Json, JsonObject } from "../../../engine/payload.ts";
import type { Builtin } from "./builtin.ts";
import { at, isObject, jsonOf, maxInlineJsonBytes as maxInlineBytes, record, tokensOf } from "./content.ts";
import { jsonObject, writeJson } from "./json-text.ts";
import { Refusal } from "./refusal.ts";

const merge: Builtin = {
  name: "json.merge",
  summary:
    "Merges objects key by key, objects in them too; lists and other values are replaced. The payload is one object, or a list of objects merged in their order.",
  options: { with: { type: "object", description: "Merged over the payload's.", default: {} } },
  prepare(options) {
    const over = options.object("with");
    return (request) => {
      const payload = jsonOf(request.payload);
      const objects = Array.isArray(payload) ? (payload as readonly Json[]) : [payload];
      return { json: merged([...objects.map(objectOf), over]) };
    };
  },
  maxInlineBytes,
  example: {
    options: { with: { b: { y: 2 } } },
    input: [{ a: 1, b: { x: 1 } }, { a: 2 }],
    output: { a: 2, b: { x: 1, y: 2 } },
  },
};

function objectOf(value: Json, index: number): JsonObject {
  if (isObject(value)) return value;
  throw new Refusal(`what is to be merged is no object (number ${index + 1})`);
}

/** An object that is being merged: ours to write to. */
type Draft = Map<string, Json | Draft>;

/** Linear in the size of all of them: what is merged is written to, and never copied for the next. */
function merged(objects: readonly JsonObject[]): Json {
  const draft: Draft = new Map();
  for (const object of objects) absorb(draft, object);
  return finished(draft);
}

function absorb(draft: Draft, over: JsonObject): void {
  for (const [key, value] of Object.entries(over)) {
    const old = draft.get(key);
    if (!isObject(value) || old === undefined) draft.set(key, value);
    else if (old instanceof Map) absorb(old, value);
    else draft.set(key, isObject(old) ? draftOf(old, value) : value);
  }
}

function draftOf(base: JsonObject, over: JsonObject): Draft {
  const draft: Draft = new Map(Object.entries(base));
  absorb(draft, over);
  return draft;
}

function finished(draft: Draft): Json {
  const entries: [string, Json][] = [];
  for (const [key, value] of draft) entries.push([key, value instanceof Map ? finished(value) : value]);
  return record(entries);
}

const pick: Builtin = {
  name: "json.pick",
  summary: "Picks one value by a JSON Pointer, or makes an object of several.",
  options: {
    pointer: { type: "string", description: "The value that becomes the payload; give this or pointers." },
    pointers: { type: "object", description: "Names and the pointers to their values." },
    optional: { type: "boolean", description: "A value that is not there is null instead of refused.", default: false },
  },
  prepare(options) {
    if (options.has("pointer") === options.has("pointers")) throw new Refusal("give pointer or pointers, one of them");
    const get = (value: Json, pointer: string): Json => {
      const found = at(value, pointer);
      if (found === undefined && !options.flag("optional"))
        throw new Refusal(`the payload has no value at ${JSON.stringify(pointer)}`);
      return found ?? null;
    };
    if (options.has("pointer")) {
      const pointer = options.text("pointer");
      tokensOf(pointer);
      return (request) => ({ json: get(jsonOf(request.payload), pointer) });
    }
    const pointers = Object.entries(options.object("pointers")).map(pointerEntry);
    return (request, _context, output) => {
      const value = jsonOf(request.payload);
      const picked = pointers.map(([name, pointer]) => [name, get(value, pointer)] as const);
      return jsonObject(picked, output);
    };
  },
  maxInlineBytes,
  example: {
    options: { pointers: { first: "/list/0", name: "/meta/name" } },
    input: { list: [7, 8], meta: { name: "mill" } },
    output: { first: 7, name: "mill" },
  },
};

function pointerEntry([name, pointer]: [string, Json]): [string, string] {
  if (typeof pointer !== "string") throw new Refusal(`option pointers: ${JSON.stringify(name)} is no string`);
  tokensOf(pointer);
  return [name, pointer];
}

const set: Builtin = {
  name: "json.set",
  summary:
    "Sets the value at a JSON Pointer; objects on the way are made, a list's item must be there or be the next (-).",
  options: {
    pointer: { type: "string", description: "Where.", required: true },
    value: { type: "any", description: "What.", required: true },
  },
  prepare(options) {
    const tokens = tokensOf(options.text("pointer"));
    const value = options.any("value");
    return (request) => ({ json: withValue(jsonOf(request.payload), tokens, value) });
  },
  maxInlineBytes,
  example: {
    options: { pointer: "/meta/tags/-", value: "new" },
    input: { meta: { tags: ["old"] } },
    output: { meta: { tags: ["old", "new"] } },
  },
};

function withValue(target: Json | undefined, tokens: readonly string[], value: Json): Json {
  const [token, ...rest] = tokens;
  if (token === undefined) return value;
  if (Array.isArray(target)) {
    const list = target as readonly Json[];
    const index = token === "-" ? list.length : /^(0|[1-9]\d*)$/.test(token) ? Number(token) : -1;
    if (index < 0 || index > list.length)
      throw new Refusal(`${JSON.stringify(token)} is no index of a list of ${list.length}`);
    return [...list.slice(0, index), withValue(list[index], rest, value), ...list.slice(index + 1)];
  }
  if (target !== undefined && !isObject(target))
    throw new Refusal(`the value before ${JSON.stringify(token)} is no object or list`);
  const entries = new Map<string, Json>(Object.entries(target ?? {}));
  entries.set(token, withValue(entries.get(token), rest, value));
  return record(entries);
}

const sortKeys: Builtin = {
  name: "json.sort-keys",
  summary:
    "Sorts the keys of every object by code units, so that equal values have equal bytes; lists keep their order.",
  options: {},
  prepare: () => (request) => ({ json: sorted(jsonOf(request.payload)) }),
  maxInlineBytes,
  example: { input: { b: 1, a: [{ d: 1, c: 2 }] }, output: { a: [{ c: 2, d: 1 }], b: 1 } },
};

function sorted(value: Json): Json {
  if (Array.isArray(value)) return (value as readonly Json[]).map(sorted);
  if (!isObject(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return record(entries.map(([key, item]) => [key, sorted(item)]));
}

const parse: Builtin = {
  name: "json.parse",
  summary: "Takes a text for JSON: gives it as application/json on one line, or refuses it.",
  options: {},
  prepare: () => (request) => ({ json: jsonOf(request.payload) }),
  maxInlineBytes,
  example: { input: '{ "a": [1, 2] }', output: { a: [1, 2] } },
};

const stringify: Builtin = {
  name: "json.stringify",
  summary: "Writes JSON as a text, indented or on one line.",
  options: {
    indent: { type: "integer", description: "Spaces a level; 0 is one line.", default: 2, minimum: 0, maximum: 10 },
  },
  prepare(options) {
    const indent = " ".repeat(options.integer("indent"));
    return (request, _context, output) => {
      if (indent === "") return JSON.stringify(jsonOf(request.payload));
      writeJson(jsonOf(request.payload), indent, output);
      return output.text;
    };
  },
  maxInlineBytes,
  example: { input: { a: 1 }, output: '{\n  "a": 1\n}' },
};

export const jsonBuiltins: readonly Builtin[] = [merge, pick, set, sortKeys, parse, stringify];
