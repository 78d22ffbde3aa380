import { PassThrough } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import { expect } from "chai";
import fc from "fast-check";
import type { Execution, StepRow } from "../../../../controller/api/types.ts";
import { executionView } from "../../../../controller/cli/inspect/execution-view.ts";
import { terminalStyle } from "../../../../controller/cli/terminal/terminal.ts";
import { textWidth } from "../../../../controller/cli/terminal/text-width.ts";
import { inspected, inspectedAtMs } from "../inspected.ts";

interface Given {
  readonly columns?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly isTTY?: boolean;
}

const utf8 = { LANG: "C.UTF-8" };

function shown(execution: Execution, { columns = 80, env = utf8, isTTY = false }: Given = {}): string {
  const style = terminalStyle(Object.assign(new PassThrough(), { columns, isTTY }), env);
  const lines = executionView(execution, { finallySteps: new Set(["notify"]), style, nowMs: inspectedAtMs });
  return lines.map(({ text }) => text).join("\n");
}

function withRows(...steps: readonly StepRow[]): Execution {
  return { ...inspected, status: { ...inspected.status, steps } };
}

describe("an Execution as a person sees it", () => {
  it("fits 80 columns", () => {
    expect(shown(inspected)).to.equal(
      [
        "Execution   article-x7k2p, namespace team",
        "Pipeline    article, revision article-7c9f1e2a3b4c5d6e",
        "Phase       Running, 6/10 steps",
        "Message     Running pages (813 of 10000 items), publish/upload",
        "Owner       millrace-6d5f9c7b8-x2k4q, epoch 2",
        "Started     2026-11-28 02:00:00 UTC",
        "Ran         1m10s",
        'Parameters  language="de", top=10',
        "Input       text, 99 bytes: Fellow-Citizens of the Senate and House of Represen…",
        "Priority    5",
        "Retry from  article-abcde",
        'Output      words: application/json: {"the":12}',
        "",
        "✔ clean                           Succeeded                 12ms  █",
        "✔ count                           Cached",
        "✖ find-the-most-i…ting-sentences  Failed               ×3   4.3s  ███████",
        "    ProcessorFailed (NoSentence): the text has no sentence that is longer than 3",
        "    words; it begins with “Fellow-Citizens”, and then it ends",
        "● pages                           812/10000, 1 failed       8.0s   █████████████",
        "    item 813: Unavailable: connect ECONNREFUSED",
        "● publish                         Running                   8.0s   █████████████",
        "✔ ├─ render                       Succeeded                 1.5s   ███",
        "↻ └─ upload                       Retrying             ×2   6.0s      ██████████",
        "       DeadlineExceeded: no answer within 1000 ms",
        "       sent 12 bytes",
        "– report                          UpstreamFailed",
        "⊘ archive                         FailFast                 500ms        █",
        "finally",
        "· notify                          Waiting",
      ].join("\n"),
    );
  });

  it("says to three digits what steps took where it is metered, and has no room for it where none is", () => {
    const took = (name: string, fuel: number): StepRow => ({ name, state: "Succeeded", fuel });
    const names = ["a", "b", "c", "d", "e"];
    const fuels = [0, 999, 12_345, 999_500, 1_234_567_890];
    const text = shown(
      withRows(...names.map((name, index) => took(name, fuels[index] ?? 0)), { name: "f", state: "Waiting" }),
    );
    expect(text.split("\n").slice(-6)).to.deep.equal([
      "✔ a  Succeeded      0 fuel",
      "✔ b  Succeeded    999 fuel",
      "✔ c  Succeeded  12.3k fuel",
      "✔ d  Succeeded     1M fuel",
      "✔ e  Succeeded  1.23G fuel",
      "· f  Waiting",
    ]);
  });

  it("fits 100 columns", () => {
    expect(shown(inspected, { columns: 100 })).to.equal(
      [
        "Execution   article-x7k2p, namespace team",
        "Pipeline    article, revision article-7c9f1e2a3b4c5d6e",
        "Phase       Running, 6/10 steps",
        "Message     Running pages (813 of 10000 items), publish/upload",
        "Owner       millrace-6d5f9c7b8-x2k4q, epoch 2",
        "Started     2026-11-28 02:00:00 UTC",
        "Ran         1m10s",
        'Parameters  language="de", top=10',
        "Input       text, 99 bytes: Fellow-Citizens of the Senate and House of Representatives: among the v…",
        "Priority    5",
        "Retry from  article-abcde",
        'Output      words: application/json: {"the":12}',
        "",
        "✔ clean                                Succeeded                 12ms  █",
        "✔ count                                Cached",
        "✖ find-the-most-interesting-sentences  Failed               ×3   4.3s  ██████████████",
        "    ProcessorFailed (NoSentence): the text has no sentence that is longer than 3 words; it begins",
        "    with “Fellow-Citizens”, and then it ends",
        "● pages                                812/10000, 1 failed       8.0s     ██████████████████████████",
        "    item 813: Unavailable: connect ECONNREFUSED",
        "● publish                              Running                   8.0s     ██████████████████████████",
        "✔ ├─ render                            Succeeded                 1.5s     ██████",
        "↻ └─ upload                            Retrying             ×2   6.0s           ████████████████████",
        "       DeadlineExceeded: no answer within 1000 ms",
        "       sent 12 bytes",
        "– report                               UpstreamFailed",
        "⊘ archive                              FailFast                 500ms              ███",
        "finally",
        "· notify                               Waiting",
      ].join("\n"),
    );
  });

  it("gives up the bars, then the words, where there is no room, and is ASCII where the locale is", () => {
    expect(shown(inspected, { columns: 40, env: { LANG: "C" } })).to.equal(
      [
        "Execution   article-x7k2p, namespace",
        "            team",
        "Pipeline    article, revision",
        "            article-7c9f1e2a3b4c5d6e",
        "Phase       Running, 6/10 steps",
        "Message     Running pages (813 of 10000",
        "            items), publish/upload",
        "Owner       millrace-6d5f9c7b8-x2k4q,",
        "            epoch 2",
        "Started     2026-11-28 02:00:00 UTC",
        "Ran         1m10s",
        'Parameters  language="de", top=10',
        "Input       text, 99 bytes: Fellow-Citi~",
        "Priority    5",
        "Retry from  article-abcde",
        'Output      words: application/json: {"~',
        "",
        "+ clean     Succeeded               12ms",
        "+ count     Cached",
        "x find~ces  Failed             x3   4.3s",
        "    ProcessorFailed (NoSentence): the",
        "    text has no sentence that is longer",
        "    than 3 words; it begins with",
        "    “Fellow-Citizens”, and then it ends",
        "* pages     812/10000, 1 fai~       8.0s",
        "    item 813: Unavailable: connect",
        "    ECONNREFUSED",
        "* publish   Running                 8.0s",
        "+ |- re~er  Succeeded               1.5s",
        "o `- up~ad  Retrying           x2   6.0s",
        "       DeadlineExceeded: no answer",
        "       within 1000 ms",
        "       sent 12 bytes",
        "- report    UpstreamFailed",
        "/ archive   FailFast               500ms",
        "finally",
        ". notify    Waiting",
      ].join("\n"),
    );
  });

  it("has colours on a terminal only, and not where NO_COLOR is set", () => {
    const csi = "\u001b[";
    expect(shown(inspected, { isTTY: true })).to.contain(csi);
    expect(shown(inspected)).to.not.contain(csi);
    expect(shown(inspected, { isTTY: true, env: { ...utf8, NO_COLOR: "1" } })).to.not.contain(csi);
    expect(stripVTControlCharacters(shown(inspected, { isTTY: true }))).to.equal(shown(inspected));
  });

  it("never has a line that is wider than the terminal", () => {
    const anyName = fc.stringMatching(/^[a-z][a-z0-9-]{0,60}(\/[a-z][a-z0-9-]{0,60}){0,3}$/);
    const anyState = fc.constantFrom("Waiting", "Running", "Retrying", "Succeeded", "Failed", "Skipped", "Cancelled");
    const anyRow = fc.record({ name: anyName, state: anyState, attempts: fc.nat(11), message: fc.string() });
    fc.assert(
      fc.property(fc.array(anyRow, { maxLength: 12 }), fc.integer({ min: 60, max: 200 }), (rows, columns) => {
        const steps = rows.map(({ name, state, attempts, message }) => ({
          name,
          state,
          attempts,
          startTime: "2026-11-28T02:00:01Z",
          durationMs: attempts * 977,
          ...(state === "Failed" ? { error: { code: "Internal", kind: "System", message } as const } : {}),
        }));
        for (const line of shown(withRows(...steps), { columns }).split("\n")) {
          expect(textWidth(line), line).to.be.at.most(columns);
        }
      }),
    );
  });

  it("lets nobody write to the terminal who gives a step a message", () => {
    const message = "\u001b[2Jgone\u202Eenog";
    const failed = { name: "a", state: "Failed", error: { code: "Internal", kind: "System", message } } as const;
    expect(shown(withRows(failed))).to.contain("Internal: \\u001b[2Jgone\\u202eenog");
  });

  it("says how many failed items it does not show", () => {
    const failures = Array.from({ length: 16 }, (_, index) => ({
      index,
      code: "Internal" as const,
      message: `broken ${index}`,
    }));
    const items = { total: 100, succeeded: 60, failed: 40, failures };
    const text = shown(withRows({ name: "pages", state: "Failed", items }));
    expect(text).to.contain("item 4: Internal: broken 4\n    and 35 more").and.to.not.contain("item 5:");
    expect(text).to.contain("60/100, 40 failed");
  });

  it("says once which items failed, with the processor's own code where it has one", () => {
    const message = "2 of 3 items failed: item 0: ProcessorFailed: no ink; item 2: Unavailable: gone";
    const error = { code: "ProcessorFailed", kind: "Processor", processorCode: "NoInk", message } as const;
    const failures = [
      { index: 0, code: "ProcessorFailed", processorCode: "NoInk", message: "no ink" },
      { index: 2, code: "Unavailable", message: "gone" },
    ] as const;
    const items = { total: 3, succeeded: 1, failed: 2, failures };
    expect(shown(withRows({ name: "pages", state: "Failed", error, items }))).to.match(
      /\n {4}2 of 3 items failed\n {4}item 0: ProcessorFailed \(NoInk\): no ink\n {4}item 2: Unavailable: gone$/,
    );
    const unknown = { total: 3, succeeded: 1, failed: 2 };
    expect(shown(withRows({ name: "pages", state: "Failed", error, items: unknown }), { columns: 120 })).to.contain(
      `ProcessorFailed (NoInk): ${message}`,
    );
  });

  it("says once what went wrong with several items", () => {
    const failures = [2, 3, 4, 6, 9].map((index) => ({
      index,
      code: index === 6 ? ("Internal" as const) : ("Interrupted" as const),
      message: "it had started",
    }));
    const items = { total: 12, succeeded: 5, failed: 7, failures };
    expect(shown(withRows({ name: "pages", state: "Failed", items }))).to.contain(
      "\n    items 2-4,9: Interrupted: it had started\n    item 6: Internal: it had started\n    and 2 more",
    );
  });

  it("says how many items needed no attempt", () => {
    const items = { total: 9, succeeded: 9, failed: 0, cached: 2, reused: 5 };
    expect(shown(withRows({ name: "e", state: "Succeeded", items }))).to.match(/^✔ e {2}9\/9, 2 cached, 5 reused$/m);
  });
});
