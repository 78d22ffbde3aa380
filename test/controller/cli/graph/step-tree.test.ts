import { expect } from "chai";
import fc from "fast-check";
import { stepTree, type TreeStep } from "../../../../controller/cli/graph/step-tree.ts";

function dag(edges: Readonly<Record<string, readonly string[]>>): TreeStep[] {
  const names = Object.keys(edges);
  return names.map((name) => ({
    name,
    dependencies: (edges[name] ?? []).map((dependency) => names.indexOf(dependency)),
    dependents: names.flatMap((other, index) => (edges[other]?.includes(name) ? [index] : [])),
  }));
}

function draw(steps: readonly TreeStep[]): string[] {
  return stepTree(steps).map(({ step, prefix, alsoAfter }) =>
    `${prefix}${steps[step]?.name} ${alsoAfter.join(",")}`.trimEnd(),
  );
}

describe("the tree of steps", () => {
  it("hangs a step under the dependency that ends last, and names the others", () => {
    const steps = dag({
      report: ["style", "keywords"],
      clean: [],
      style: ["clean"],
      terms: ["clean"],
      keywords: ["terms"],
    });
    expect(draw(steps)).to.deep.equal(["clean", "├─ style", "└─ terms", "   └─ keywords", "      └─ report style"]);
  });

  it("takes a step that stands for a path for as long as that", () => {
    const steps = dag({ short: [], long: [], after: ["short", "long"] });
    expect(draw(steps)).to.deep.equal(["short", "└─ after long", "long"]);
    const weighed = steps.map((step) => ({ ...step, length: step.name === "long" ? 3 : 1 }));
    expect(draw(weighed)).to.deep.equal(["short", "long", "└─ after short"]);
  });

  it("shows each step of any DAG once, after the step it hangs under", () => {
    const anyDag = fc.integer({ min: 1, max: 40 }).chain((size) =>
      fc.array(fc.array(fc.nat(), { maxLength: 4 }), { minLength: size, maxLength: size }).map((rows) => {
        const names = rows.map((_, index) => `s${index}`);
        return dag(
          Object.fromEntries(
            rows.map((row, index) => [
              `s${index}`,
              index === 0 ? [] : [...new Set(row.map((n) => names[n % index] ?? ""))],
            ]),
          ),
        );
      }),
    );
    fc.assert(
      fc.property(anyDag, (steps) => {
        const order = stepTree(steps).map(({ step }) => step);
        expect(order.toSorted((a, b) => a - b)).to.deep.equal([...steps.keys()]);
      }),
    );
  });
});
