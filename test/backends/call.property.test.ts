import { expect } from "chai";
import fc from "fast-check";
import { ByteBudget } from "../../backends/byte-budget.ts";
import { MillraceError } from "../../engine/errors.ts";
import type { ProcessorResponse } from "../../engine/processor.ts";
import { attemptOf, callerOf, ManualPorts, requestOf, scripted, turn } from "./support.ts";

type Step =
  | { readonly do: "call"; readonly timeoutMs: number; readonly processor: number }
  | { readonly do: "answer"; readonly which: number; readonly how: "Succeed" | "Declare" | "Throw" }
  | { readonly do: "cancel"; readonly which: number }
  | { readonly do: "pass"; readonly ms: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant("call" as const),
        timeoutMs: fc.integer({ min: 1, max: 300 }),
        processor: fc.nat(1),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant("answer" as const),
        which: fc.nat(9),
        how: fc.constantFrom("Succeed" as const, "Declare" as const, "Throw" as const),
      }),
    },
    fc.record({ do: fc.constant("cancel" as const), which: fc.nat(9) }),
    fc.record({ do: fc.constant("pass" as const), ms: fc.integer({ min: 0, max: 400 }) }),
  ),
  { maxLength: 40 },
);

/** Two processors on one budget, played by hand; everything that happens is counted. */
class Play {
  readonly ports = new ManualPorts();
  readonly budget = new ByteBudget(25);
  readonly open: ((how: "Succeed" | "Declare" | "Throw") => void)[] = [];
  readonly cancels: AbortController[] = [];
  readonly codes: string[] = [];
  settled = 0;
  #asked = 0;
  readonly callers = [2, 3].map((maxConcurrency) =>
    callerOf(
      scripted(() => this.#running()),
      { maxConcurrency, maxOutputBytes: 5 },
      { ports: this.ports, budget: this.budget, maxWaiters: 4 },
    ),
  );

  get asked(): number {
    return this.#asked;
  }

  call(processor: number, timeoutMs: number): void {
    const cancel = new AbortController();
    this.cancels.push(cancel);
    this.#asked += 1;
    const caller = this.callers[processor] ?? this.callers[0];
    caller?.call(attemptOf({ timeoutMs }), requestOf("12345"), cancel.signal).then(
      () => {
        this.settled += 1;
      },
      (error: unknown) => {
        this.settled += 1;
        this.codes.push(error instanceof MillraceError ? error.code : "not a MillraceError");
      },
    );
  }

  #running(): Promise<ProcessorResponse> {
    return new Promise((resolve, reject) => {
      this.open.push((how) => {
        if (how === "Throw") reject(new Error("thrown"));
        else if (how === "Declare")
          resolve({ ok: false, error: { code: "X", message: "", retryable: false }, metadata: {} });
        else resolve({ ok: true, payload: requestOf("ok").payload, metadata: {} });
      });
    });
  }
}

describe("call.ts, whatever happens", () => {
  it("settles every call once, keeps its bounds, and ends with nothing taken", async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (script) => {
        const play = new Play();
        for (const step of script) {
          if (step.do === "call") play.call(step.processor, step.timeoutMs);
          else if (step.do === "answer") play.open.splice(step.which % Math.max(1, play.open.length), 1)[0]?.(step.how);
          else if (step.do === "cancel") play.cancels[step.which]?.abort();
          else play.ports.advance(step.ms);
          await turn();
          const [first, second] = play.callers.map(({ stats }) => stats);
          expect(first?.inFlight).to.be.at.most(2);
          expect(second?.inFlight).to.be.at.most(3);
          expect(play.budget.freeBytes).to.be.within(0, 25);
        }
        await finish(play);
      }),
      { numRuns: 300 },
    );
  }).timeout(60_000);

  async function finish(play: Play): Promise<void> {
    for (let round = 0; round < 40 && play.settled < play.asked; round += 1) {
      for (const answer of play.open.splice(0)) answer("Succeed");
      play.ports.advance(500);
      await turn();
    }
    play.ports.advance(60_000);
    await turn();
    expect(play.settled).to.equal(play.asked);
    expect(play.budget.freeBytes).to.equal(25);
    expect(play.callers.map(({ stats }) => stats.inFlight + stats.waiting)).to.deep.equal([0, 0]);
    expect(play.codes.filter((code) => !allowed.has(code))).to.deep.equal([]);
    await Promise.all(play.callers.map((caller) => caller[Symbol.asyncDispose]()));
    expect(play.ports.timers).to.equal(0);
  }

  const allowed = new Set(["DeadlineExceeded", "Cancelled", "ResourceExhausted", "Internal"]);
});
