import { expect } from "chai";
import { type Condition, removeCondition, setCondition, summarise } from "../../../controller/runtime/conditions.ts";

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
