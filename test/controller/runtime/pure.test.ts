import { expect } from "chai";
import fc from "fast-check";
import { backoffMs } from "../../../controller/runtime/backoff.ts";
import { type Condition, removeCondition, setCondition, summarise } from "../../../controller/runtime/conditions.ts";
import { containsNull, jsonEqual, mergeDiff } from "../../../controller/runtime/merge-diff.ts";
import { microTime } from "../../../controller/runtime/micro-time.ts";
import { keyFor, refOf } from "../../../controller/runtime/object-key.ts";
import { isOlder } from "../../../controller/runtime/resource-version.ts";
import type { Json, JsonObject } from "../../../engine/payload.ts";

const at = (seconds: number) => Date.UTC(2026, 10, 23, 12, 0, seconds, 789);

describe("conditions", () => {
  const state = { type: "Ready", status: "True", reason: "Loaded", message: "", observedGeneration: 1 } as const;

  it("keep the time of the last transition while the status stays", () => {
    const first = setCondition([], state, at(0));
    const second = setCondition(first, { ...state, reason: "Reloaded", observedGeneration: 2 }, at(5));
    expect(second).to.deep.equal([
      { ...state, reason: "Reloaded", observedGeneration: 2, lastTransitionTime: "2026-11-23T12:00:00Z" },
    ]);
    const third = setCondition(second, { ...state, status: "False" }, at(9));
    expect(third[0]?.lastTransitionTime).to.equal("2026-11-23T12:00:09Z");
  });

  it("are the very same array when nothing changed, so that nothing is written", () => {
    const first = setCondition([], state, at(0));
    expect(setCondition(first, { ...state }, at(5))).to.equal(first);
    expect(removeCondition(first, "Stalled")).to.equal(first);
  });

  const summaries = [
    { state: "Ready", expected: { Ready: "True" } },
    { state: "Reconciling", expected: { Ready: "Unknown", Reconciling: "True" } },
    { state: "Stalled", expected: { Ready: "False", Stalled: "True" } },
  ] as const;
  for (const from of summaries) {
    for (const to of summaries) {
      it(`go from ${from.state} to ${to.state} as kstatus wants them`, () => {
        const common = { reason: "Because", message: "it is so", observedGeneration: 1 };
        const before = summarise([], { state: from.state, ...common }, at(0));
        const after = summarise(before, { state: to.state, ...common }, at(1));
        const shown = Object.fromEntries(after.map(({ type, status }: Condition) => [type, status]));
        expect(shown).to.deep.equal(to.expected);
      });
    }
  }

  it("may stay Ready while a new generation is looked at", () => {
    const summary = { state: "Reconciling", whileReconciling: "True", reason: "Loading", message: "" } as const;
    const conditions = summarise([], { ...summary, observedGeneration: 2 }, at(0));
    expect(conditions.map(({ type, status }) => `${type}=${status}`)).to.deep.equal(["Ready=True", "Reconciling=True"]);
  });
});

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

describe("the small pure parts of the runtime", () => {
  it("compare resource versions as numbers of any length", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 24n }), fc.bigInt({ min: 0n, max: 10n ** 24n }), (a, b) => {
        expect(isOlder(String(a), String(b))).to.equal(a < b);
      }),
    );
    expect(isOlder("", "1")).to.equal(true);
  });

  it("turn references into keys and back", () => {
    for (const ref of [{ namespace: "team", name: "article" }, { name: "cluster-wide" }]) {
      expect(refOf(keyFor(ref))).to.deep.equal(ref);
    }
  });

  it("back off exponentially up to the limit, never before Retry-After", () => {
    const policy = { initialMs: 100, factor: 2, maxMs: 1_000, jitter: 0.5 };
    const delays = [0, 1, 2, 3, 4, 50].map((retry) => backoffMs(policy, retry, () => 0));
    expect(delays).to.deep.equal([100, 200, 400, 800, 1_000, 1_000]);
    expect(backoffMs(policy, 0, () => 0.5)).to.equal(125);
    fc.assert(
      fc.property(
        fc.nat(20),
        fc.integer({ min: 1, max: 60_000 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (retry, after, random) => {
          expect(backoffMs(policy, retry, () => random, after)).to.be.at.least(after);
        },
      ),
    );
  });

  it("write a Lease's times with six digits", () => {
    expect(microTime(at(0))).to.equal("2026-11-23T12:00:00.789000Z");
  });
});
