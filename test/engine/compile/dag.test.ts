import { expect } from "chai";
import { Ancestry, buildDag, pathLengths, shapeOf } from "../../../engine/compile/dag.ts";

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
      expect(shapeOf(dagOf(text), () => true)).to.deep.equal({ levels: depth, width });
    });
  }

  it("measures only nodes that count", () => {
    const dag = dagOf("a b<a c<b d<c e<a");
    const counts = (node: number) => node !== 1;
    expect(shapeOf(dag, counts)).to.deep.equal({ levels: 3, width: 2 });
    expect(pathLengths(dag, counts)).to.deep.equal([3, 2, 2, 1, 1]);
  });

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
