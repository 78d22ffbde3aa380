import { expect } from "chai";
import fc from "fast-check";
import { containsNull, jsonEqual, mergeDiff } from "../../../controller/runtime/merge-diff.ts";
import type { Json, JsonObject } from "../../../engine/payload.ts";

/** RFC 7386, as it is written there. */
function applied(target: unknown, patch: Json): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const isObject = typeof target === "object" && target !== null && !Array.isArray(target);
  const result: Record<string, unknown> = isObject ? { ...target } : {};
  for (const [key, value] of Object.entries(patch as JsonObject)) {
    if (value === null) delete result[key];
    else result[key] = applied(result[key], value);
  }
  return result;
}

describe("a merge patch of what changed", () => {
  const { json } = fc.letrec<{ json: Json; object: JsonObject }>((tie) => ({
    json: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom<Json>("a", "b", 1, 2, true, false),
      fc.array(tie("json"), { maxLength: 3 }),
      tie("object"),
    ),
    object: fc.dictionary(fc.constantFrom("json", "text", "payload", "x"), tie("json"), { maxKeys: 4 }),
  }));
  const object = fc.dictionary(fc.constantFrom("output", "phase", "steps", "y"), json, { maxKeys: 4 });

  it("makes the new status of the old one, whatever the two are", () => {
    fc.assert(
      fc.property(object, object, (from, to) => {
        const patch = mergeDiff(from, to);
        expect(patch === undefined).to.equal(jsonEqual(from, to));
        expect(applied(from, patch ?? {})).to.deep.equal({ ...to });
      }),
    );
  });

  it("names nothing that stayed", () => {
    const from = { phase: "Running", progress: "1/2", conditions: [{ type: "Ready" }], output: { text: "a" } };
    const to = {
      phase: "Running",
      progress: "2/2",
      conditions: [{ type: "Ready" }],
      output: { payload: { bytes: 1 } },
    };
    expect(mergeDiff(from, to)).to.deep.equal({ progress: "2/2", output: { text: null, payload: { bytes: 1 } } });
  });

  it("takes a field that is undefined for absent", () => {
    expect(mergeDiff({ a: 1 }, { a: 1, b: undefined })).to.equal(undefined);
    expect(mergeDiff({ a: 1 }, { a: undefined })).to.deep.equal({ a: null });
    expect(jsonEqual({ a: undefined }, {})).to.equal(true);
    expect(jsonEqual([1], { 0: 1 })).to.equal(false);
  });

  it("is not fit for a value that is null, at any depth", () => {
    expect(containsNull({ steps: [{ output: { json: null } }] })).to.equal(true);
    expect(containsNull({ steps: [{ output: { json: 0 } }] })).to.equal(false);
  });
});
