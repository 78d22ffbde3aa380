import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect } from "chai";
import type { Ports } from "../../../engine/clock.ts";
import { maxRunCost } from "../../../engine/expressions/cost.ts";
import type { Payload } from "../../../engine/payload.ts";
import { BytesPayload, jsonPayload, textPayload } from "../../../engine/payload.ts";
import type { PipelineDefinition } from "../../../engine/pipeline.ts";
import { run } from "../../../engine/run/run.ts";
import type { RunOptions } from "../../../engine/run/run-options.ts";
import { maxDecodedBytesTogether, maxKeptBytes } from "../../../engine/run/scope.ts";
import { pipeline, planOf, rowsOf, runOptions, runToEnd, step, stored } from "../../support/pipelines.ts";
import { VirtualTime } from "../../support/virtual-time.ts";

const kibibyte = 1024;
/** One evaluation of it costs nine tenths of what one may, and takes no time: each call pays for the text's length. */
const dear = "[1,2,3,4,5,6,7,8,9].all(x, !input.startsWith('b'))";
const dearInput = textPayload("a".repeat(1_000_000));

function dearSteps(count: number): PipelineDefinition {
  const when = `!${dear}`;
  const steps = Array.from({ length: count }, (_, index) => step(`s${index}`, [], { when }));
  return pipeline(steps, { output: "'done'" });
}

/** Time in which each turn of the event loop takes 10 ms. */
class SlowTurns implements Ports {
  readonly #time = new VirtualTime();
  readonly clock = this.#time.clock;
  readonly random = this.#time.random;
  turns = 0;
  onTurn: () => void = () => undefined;
  readonly scheduler = {
    after: (delayMs: number, callback: () => void) => {
      if (delayMs > 0) return this.#time.scheduler.after(delayMs, callback);
      return this.#time.scheduler.after(10, () => {
        this.turns++;
        this.onTurn();
        callback();
      });
    },
  };

  run(definition: PipelineDefinition, more: Partial<RunOptions> = {}) {
    return this.#time.drive(run(planOf(definition), runOptions({ ports: this, input: dearInput, ...more })));
  }
}

/** A payload whose bytes have to be waited for, and that counts how often they were. */
function counted(payload: Payload): Payload & { readonly reads: number } {
  const slow = stored(payload);
  let reads = 0;
  return {
    ...slow,
    get reads() {
      return reads;
    },
    bytes: (signal) => {
      reads++;
      return slow.bytes(signal);
    },
  };
}

const text = (bytes: number) => textPayload("x".repeat(bytes));

describe("run: what its expressions may take", () => {
  it("lets the event loop have its turn after so much work", async () => {
    const time = new SlowTurns();
    expect((await time.run(dearSteps(40))).state).to.equal("Succeeded");
    expect(time.turns).to.be.within(18, 40);
  });

  it("does so also where all steps wait for the same bytes", async () => {
    const time = new SlowTurns();
    expect((await time.run(dearSteps(40), { input: stored(dearInput) })).state).to.equal("Succeeded");
    expect(time.turns).to.be.within(18, 40);
  });

  it("hears of a cancellation in between, and evaluates no more", async () => {
    const time = new SlowTurns();
    const controller = new AbortController();
    time.onTurn = () => controller.abort();
    const definition = dearSteps(40);
    const outcome = await time.run(definition, { signal: controller.signal });
    expect(outcome.state).to.equal("Cancelled");
    const rows = rowsOf(definition, outcome);
    expect([rows[0], rows[39]]).to.deep.equal(["s0: Skipped/WhenFalse", "s39: Skipped/Cancelled"]);
    expect(time.turns).to.equal(1);
  });

  it("hears of the Pipeline's timeout in between", async () => {
    const time = new SlowTurns();
    const definition = { ...dearSteps(40), timeoutMs: 45 };
    const outcome = await time.run(definition);
    expect(outcome.error?.code).to.equal("DeadlineExceeded");
    expect(rowsOf(definition, outcome)[39]).to.equal("s39: Skipped/PipelineTimeout");
    expect(time.turns).to.equal(4);
  });

  it("takes no turn for what costs little", async () => {
    const time = new SlowTurns();
    const steps = Array.from({ length: 1_000 }, (_, index) => step(`s${index}`, [], { when: "input == 'b'" }));
    await time.run(pipeline(steps, { output: "1" }), { input: textPayload("a") });
    expect(time.turns).to.equal(0);
  });

  it("fails the step whose expression is over the limit of the whole run", async () => {
    const outcome = await runToEnd(dearSteps(120), { input: dearInput });
    const failed = outcome.steps.findIndex((result) => result?.state === "Failed");
    expect(failed).to.be.within(100, 115);
    expect(outcome.error).to.include({ code: "InvalidInput", step: `s${failed}` });
    expect(outcome.error?.message).to.contain(`${maxRunCost} units for all of a run`);
  });
});

describe("run: what it keeps decoded", () => {
  const echo: RunOptions["invoke"] = async (_, { payload }) => ({ ok: true, payload, metadata: {} });
  const looks = (name: string) => `size(steps.${name}.output) > 0`;

  it("decodes anew what was let go for others", async () => {
    const size = Math.ceil(maxKeptBytes / 3) + 1;
    const outputs = new Map(["a", "b", "c", "d"].map((name) => [name, counted(text(size))]));
    const invoke: RunOptions["invoke"] = async ({ stepName }, { payload }) => ({
      ok: true,
      payload: outputs.get(stepName) ?? payload,
      metadata: {},
    });
    const names = [...outputs.keys()];
    const producers = names.map((name, index) => step(name, names.slice(0, index), { input: "input" }));
    const readers = ["a", "a", "b", "c", "d", "a", "d"].map((read, index) => {
      const before = index === 0 ? names : [`r${index - 1}`];
      return step(`r${index}`, before, { input: "input", when: looks(read) });
    });
    const definition = pipeline([...producers, ...readers], { output: looks("b") });
    expect((await runToEnd(definition, { invoke })).state).to.equal("Succeeded");
    expect(names.map((name) => outputs.get(name)?.reads)).to.deep.equal([2, 2, 1, 1]);
  });

  it("evaluates an expression over more than it keeps, whatever was decoded before", async () => {
    const outputs = new Map(["a", "b", "c", "d"].map((name) => [name, counted(text(1000 * kibibyte))]));
    const invoke: RunOptions["invoke"] = async ({ stepName }, { payload }) => ({
      ok: true,
      payload: outputs.get(stepName) ?? payload,
      metadata: {},
    });
    const names = [...outputs.keys()];
    const all = names.map(looks).join(" && ");
    const steps = [
      ...names.map((name) => step(name)),
      step("first", names, { input: "input", when: looks("d") }),
      step("then", ["first"], { input: "input", when: all }),
      step("again", ["then"], { input: "input", when: all }),
    ];
    const outcome = await runToEnd(pipeline(steps, { output: all }), { invoke });
    expect(outcome.steps.map((result) => result?.state)).to.deep.equal(Array(7).fill("Succeeded"));
  });

  it("refuses an expression over too much together", async () => {
    const names = ["a", "b", "c", "d", "e"];
    const size = Math.ceil(maxDecodedBytesTogether / 5) + 1;
    const steps = [
      ...names.map((name) => step(name)),
      step("all", names, { input: `[${names.map(looks).join(",")}]` }),
    ];
    const outcome = await runToEnd(pipeline(steps), { invoke: echo, input: text(size) });
    expect(outcome.steps.at(-1)).to.have.nested.property("error.code", "PayloadTooLarge");
  });

  it("lets a payload go when the last step that looks into it has done so", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const large = new TextEncoder().encode(`[${"0,".repeat(500_000)}0]`);
    const usedMiB: number[] = [];
    const steps = Array.from({ length: 12 }, (_, index) => {
      const before = `s${index - 1}`;
      return index === 0
        ? step("s0")
        : step(`s${index}`, [before], { when: `size(steps.${before}.output) > ${index}`, input: "input" });
    });
    const invoke: RunOptions["invoke"] = async () => {
      collect();
      usedMiB.push(process.memoryUsage().heapUsed / 2 ** 20);
      return { ok: true, payload: new BytesPayload(large, "application/json"), metadata: {} };
    };
    expect((await runToEnd(pipeline(steps), { invoke, input: jsonPayload(1) })).state).to.equal("Succeeded");
    // One of them takes some 12 MiB when it is decoded.
    expect((usedMiB.at(-1) ?? 0) - (usedMiB[0] ?? 0)).to.be.lessThan(6);
  });
});
