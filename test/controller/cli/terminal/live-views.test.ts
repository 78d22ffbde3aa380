import { PassThrough } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import { expect } from "chai";
import fc from "fast-check";
import type { Execution, StepRow } from "../../../../controller/api/types.ts";
import type { CliContext } from "../../../../controller/cli/context.ts";
import { executionView } from "../../../../controller/cli/inspect/execution-view.ts";
import { LiveExecution } from "../../../../controller/cli/inspect/live-execution.ts";
import { LiveView } from "../../../../controller/cli/run/live-view.ts";
import { LiveText } from "../../../../controller/cli/terminal/live-text.ts";
import { terminalStyle } from "../../../../controller/cli/terminal/terminal.ts";
import { fittingLines, type ViewLine } from "../../../../controller/cli/terminal/view-lines.ts";
import { pipeline, planOf, step } from "../../../support/pipelines.ts";
import { Screen } from "../../../support/screen.ts";
import { VirtualTime } from "../../../support/virtual-time.ts";
import { inspected, inspectedAtMs } from "../inspected.ts";

const env = { LANG: "C.UTF-8" };
const finallySteps: ReadonlySet<string> = new Set(["notify"]);

function withRows(steps: readonly StepRow[]): Execution {
  return { ...inspected, status: { ...inspected.status, steps } };
}

/** What `inspect` without --watch shows on the same terminal. */
function plain(execution: Execution, screen: Screen): string {
  const style = terminalStyle(screen, env);
  const lines = executionView(execution, { finallySteps, style, nowMs: inspectedAtMs });
  return lines.map(({ text }) => stripVTControlCharacters(text).trimEnd()).join("\n");
}

function contextOf(screen: Screen, ports: VirtualTime): CliContext {
  return {
    env,
    cwd: "/",
    version: "1.0.0",
    stdin: new PassThrough(),
    stdout: screen,
    stderr: screen,
    ports,
    interrupted: new AbortController().signal,
    takeSecondInterrupt: () => new AbortController().signal,
  };
}

async function watched(screen: Screen, states: readonly Execution[]): Promise<LiveExecution> {
  const live = new LiveExecution(contextOf(screen, new VirtualTime(1, inspectedAtMs)), async () => finallySteps);
  for (const state of states) await live.show(state);
  return live;
}

function failing(name: string, message: string): StepRow {
  return { name, state: "Failed", attempts: 1, error: { code: "Internal", kind: "System", message } };
}

describe("an Execution that is watched on a terminal", () => {
  it("shows after each change what inspect shows, also where lines come between others and fill the terminal", async () => {
    const anyRow = fc.record({
      name: fc.constantFrom("a", "b", "c", "d"),
      // With its margin and code, 65 characters fill 80 columns.
      message: fc.constantFrom("short", "x".repeat(65), "two\nlines", "x".repeat(66), undefined),
    });
    const anyState = fc
      .uniqueArray(anyRow, { selector: ({ name }) => name })
      .map((rows) =>
        withRows(
          rows.map(({ name, message }) =>
            message === undefined ? { name, state: "Running", attempts: 1 } : failing(name, message),
          ),
        ),
      );
    await fc.assert(
      fc.asyncProperty(fc.array(anyState, { minLength: 1, maxLength: 6 }), async (states) => {
        const screen = new Screen(80, 60);
        const live = await watched(screen, []);
        for (const state of states) {
          await live.show(state);
          expect(screen.text).to.equal(plain(state, screen));
        }
        live.end();
        expect(screen.text).to.equal(plain(states.at(-1) ?? inspected, screen));
      }),
    );
  });

  it("keeps phase and message in sight of a terminal that is too low, and what runs and failed", async () => {
    const screen = new Screen(80, 14);
    const done = (name: string): StepRow => ({ name, state: "Succeeded", attempts: 1 });
    const many = Array.from({ length: 20 }, (_, index) => done(`step-${index}`));
    const execution = withRows([
      ...many.slice(0, 15),
      { name: "now", state: "Running" },
      ...many.slice(15),
      failing("bad", "no"),
    ]);
    const live = await watched(screen, [inspected, execution]);
    expect(screen.visible).to.deep.equal([
      "Execution   article-x7k2p, namespace team",
      "Pipeline    article, revision article-7c9f1e2a3b4c5d6e",
      "Phase       Running, 6/10 steps",
      "Message     Running pages (813 of 10000 items), publish/upload",
      "… 22 lines hidden",
      "✔ step-13  Succeeded",
      "✔ step-14  Succeeded",
      "● now      Running",
      "✔ step-15  Succeeded",
      "✔ step-16  Succeeded",
      "… 3 lines hidden",
      "✖ bad      Failed",
      "    Internal: no",
    ]);
    live.end();
  });

  it("leaves all of it in the scroll-back when it has ended, and none of the frames before", async () => {
    const screen = new Screen(80, 12);
    const live = await watched(screen, [withRows([]), inspected, withRows([failing("a", "no")]), inspected]);
    live.end();
    expect(screen.text).to.equal(plain(inspected, screen));
    expect(screen.text.split("\n").length).to.be.above(screen.rows);
  });
});

describe("a run on a terminal", () => {
  const names = Array.from({ length: 12 }, (_, index) => `step-${index}`);
  const chain = names.map((name, index) => step(name, index === 0 ? [] : [`step-${index - 1}`]));

  it("keeps in sight what runs and a note, and leaves the whole tree when it ends", async () => {
    const screen = new Screen(80, 8);
    const time = new VirtualTime();
    const view = new LiveView(planOf(pipeline(chain)), contextOf(screen, time));
    view.onEvent({ type: "StepStarted", step: 9, attempt: 1 });
    view.note("cancelling");
    await time.advance(80);
    const { visible } = screen;
    expect(visible).to.have.lengthOf(7);
    expect(visible[0]).to.equal("… 7 lines hidden");
    expect(visible.join("\n")).to.match(/^⠙ .*└─ step-9 +80ms$/m);
    expect(visible.at(-1)).to.equal("cancelling");
    view.end();
    const shown = screen.text.split("\n");
    expect(shown.map((line) => /step-\d+/.exec(line)?.[0])).to.deep.equal(names);
    expect(time.pendingTimers).to.equal(0);
  });
});

describe("lines that a terminal has no room for", () => {
  const style = terminalStyle(new PassThrough(), env);

  it("are never more than there is room, in their order, and those hidden are counted", () => {
    const anyLine = fc.constantFrom("Head", "Running", "Failed", "Other") satisfies fc.Arbitrary<ViewLine["rank"]>;
    fc.assert(
      fc.property(fc.array(anyLine, { maxLength: 60 }), fc.integer({ min: 1, max: 40 }), (ranks, height) => {
        const lines = ranks.map((rank, index) => ({ text: String(index), rank }));
        const shown = fittingLines(lines, height, style);
        expect(shown.length).to.be.at.most(height);
        let next = 0;
        for (const text of shown) {
          const hidden = /^… (\d+) lines? hidden$/.exec(text);
          if (hidden === null) expect(text).to.equal(String(next));
          next += hidden === null ? 1 : Number(hidden[1]);
        }
        expect(next).to.equal(lines.length);
      }),
    );
  });

  it("are drawn anew in one write, and not at all when nothing has changed", () => {
    const screen = new Screen(80, 24);
    const text = new LiveText(screen);
    const lines = (...texts: readonly string[]) => texts.map((one) => ({ text: one, rank: "Other" as const }));
    for (const texts of [
      ["a", "b"],
      ["a", "new", "b"],
      ["a", "new", "b"],
    ])
      text.draw(lines(...texts), style);
    expect(screen.writes).to.equal(2);
    expect(screen.text).to.equal("a\nnew\nb");
    text.end(lines("a", "new", "b"));
    expect(screen.text).to.equal("a\nnew\nb");
  });
});
