import { expect } from "chai";
import { FirstRound } from "../../../controller/assembly/first-round.ts";
import type { ObjectKey } from "../../../controller/runtime/object-key.ts";

const never = new AbortController().signal;

describe("The first round of reconciles", () => {
  let ends: number;
  let fails: boolean;
  const roundOf = (...keys: ObjectKey[]) =>
    new FirstRound({
      keys,
      reconciler: {
        reconcile: () => (fails ? Promise.reject(new Error("conflict")) : Promise.resolve({ requeueAfterMs: 7 })),
      },
      onEnd: () => {
        ends += 1;
      },
    });

  beforeEach(() => {
    ends = 0;
    fails = false;
  });

  it("ends when each of what there was at the start has been reconciled, and is told of once", async () => {
    const round = roundOf("team/one", "team/two");
    expect(await round.reconcile("team/one", never)).to.deep.equal({ requeueAfterMs: 7 });
    await round.reconcile("team/one", never);
    await round.reconcile("team/new", never);
    expect(ends).to.equal(0);
    await round.reconcile("team/two", never);
    await round.reconcile("team/two", never);
    expect(ends).to.equal(1);
  });

  it("counts what failed as well, and leaves the failure to whoever asked", async () => {
    const round = roundOf("team/one");
    fails = true;
    const failed = await round.reconcile("team/one", never).catch((error: Error) => error.message);
    expect([failed, ends]).to.deep.equal(["conflict", 1]);
  });

  it("does not count what was told to stop", async () => {
    const round = roundOf("team/one");
    await round.reconcile("team/one", AbortSignal.abort());
    expect(ends).to.equal(0);
  });

  it("is over at once where there is nothing", () => {
    roundOf();
    expect(ends).to.equal(1);
  });
});
