import { expect } from "chai";
import { Ancestry, buildDag } from "../../engine/dag.ts";
import { workQueue } from "../../engine/strategies/work-queue.ts";
import { pipeline, planOf, step } from "../support/pipelines.ts";

/** `a b<a c<a,b`: names with what they depend on. */
function nodes(text: string): { name: string; dependsOn: string[] }[] {
  return text.split(" ").map((node) => {
    const [name = "", before] = node.split("<");
    return { name, dependsOn: before === undefined ? [] : before.split(",") };
  });
}

function dagOf(text: string) {
  const built = buildDag(nodes(text));
  if (!built.ok) throw new Error(JSON.stringify(built.faults));
  return built.dag;
}

function faultsOf(text: string) {
  const built = buildDag(nodes(text));
  if (built.ok) throw new Error("it was accepted");
  return built.faults;
}

describe("dag", () => {
  const shapes: readonly [text: string, depth: number, width: number][] = [
    ["a", 1, 1],
    ["a b<a c<b", 3, 1],
    ["a b<a c<a d<b,c", 3, 2],
    ["a b c", 1, 3],
    ["d<b,c b<a c<a a", 3, 2],
    ["a b<a c<a,b d<a,c", 4, 1],
  ];
  for (const [text, depth, width] of shapes) {
    it(`measures ${text}`, () => {
      const dag = dagOf(text);
      expect([dag.depth, dag.width]).to.deep.equal([depth, width]);
    });
  }

  it("orders each node after its dependencies", () => {
    expect(dagOf("d<b,c b<a c<a a").order).to.deep.equal([3, 1, 2, 0]);
  });

  it("knows all ancestors, not only the direct ones", () => {
    const ancestry = new Ancestry(dagOf("a b<a c<b d"));
    const ancestorsOf = (node: number) => [0, 1, 2, 3].filter((other) => ancestry.isAncestor(other, node));
    expect([0, 1, 2, 3].map(ancestorsOf)).to.deep.equal([[], [0], [0, 1], []]);
  });

  it("knows the ancestors of a long chain, far and near", () => {
    const chain = Array.from({ length: 100 }, (_, index) => (index === 0 ? "n0" : `n${index}<n${index - 1}`));
    const ancestry = new Ancestry(dagOf(chain.join(" ")));
    for (const [ancestor, node] of [
      [0, 99],
      [31, 32],
      [32, 64],
      [63, 95],
    ] as const) {
      expect([ancestry.isAncestor(ancestor, node), ancestry.isAncestor(node, ancestor)]).to.deep.equal([true, false]);
    }
  });

  it("names a duplicate, a missing dependency and every separate cycle", () => {
    expect(faultsOf("a a")).to.deep.equal([{ kind: "Duplicate", node: 1, first: 0 }]);
    expect(faultsOf("a b<a,x")).to.deep.equal([{ kind: "Missing", node: 1, edge: 1 }]);
    expect(faultsOf("a<a")).to.deep.equal([{ kind: "Cycle", cycle: [0] }]);
    expect(faultsOf("a<b b<c c<a d<c e<f f<e")).to.deep.equal([
      { kind: "Cycle", cycle: [0, 1, 2] },
      { kind: "Cycle", cycle: [4, 5] },
    ]);
  });

  it("leaves out of a printed cycle what only hangs behind it", () => {
    expect(faultsOf("z<a a<b b<a")).to.deep.equal([{ kind: "Cycle", cycle: [1, 2] }]);
  });
});

describe("the work queue", () => {
  const diamond = pipeline([step("a"), step("b", ["a"]), step("c", ["a"]), step("d", ["b", "c"], { input: "input" })]);
  const table: readonly [done: number[], ready: number[]][] = [
    [[], [0]],
    [[0], [1, 2]],
    [[0, 1], [2]],
    [[0, 2], [1]],
    [[0, 1, 2], [3]],
    [[0, 1, 2, 3], []],
  ];
  for (const [done, ready] of table) {
    it(`with ${done.join(",") || "nothing"} done gives ${ready.join(",") || "nothing"}`, () => {
      const schedule = workQueue.schedule(planOf(diamond), (index) => done.includes(index));
      const given: number[] = [];
      for (let next = schedule.next(); next >= 0; next = schedule.next()) given.push(next);
      expect(given).to.deep.equal(ready);
    });
  }

  it("gives out no more steps than may run at once, and a paused step's slot to another", () => {
    const schedule = workQueue.schedule(
      planOf(pipeline([step("a"), step("b"), step("c")], { maxParallelSteps: 1, output: "input" })),
      () => false,
    );
    expect([schedule.next(), schedule.next()]).to.deep.equal([0, -1]);
    schedule.paused(0);
    expect([schedule.next(), schedule.next()]).to.deep.equal([1, -1]);
    schedule.resumed(0);
    schedule.finished(1);
    expect([schedule.next(), schedule.next()]).to.deep.equal([2, -1]);
    schedule.finished(2);
    expect([schedule.next(), schedule.next()]).to.deep.equal([0, -1]);
  });
});
