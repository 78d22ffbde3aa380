import { expect } from "chai";
import fc from "fast-check";
import type { StepRow } from "../../../controller/api/types.ts";
import { Waiters } from "../../../controller/execution/admission/waiters.ts";
import { nextOwner } from "../../../controller/execution/ownership.ts";
import { inlineValue, payloadOf } from "../../../controller/execution/recording/values.ts";
import { slim } from "../../../controller/execution/slim.ts";
import { cancelledRows, failure, renderStatus, shortened } from "../../../controller/execution/status.ts";
import { DelayQueue } from "../../../controller/runtime/delay-queue.ts";
import { BytesPayload, digestOf, jsonPayload } from "../../../engine/payload.ts";
import { VirtualTime } from "../runtime/fakes.ts";

const none = () => {
  throw new Error("nothing of it is in the store");
};

describe("a payload in a status", () => {
  const types = fc.constantFrom(
    "application/json",
    "text/plain",
    "text/csv; charset=utf-8",
    "image/png",
    "application/problem+json",
  );

  it("comes back byte by byte, whatever it is, unless it is JSON in canonical form", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc.string().map((text) => Buffer.from(text)),
        ),
        types,
        (data, type) => {
          const row = inlineValue(new BytesPayload(data, type));
          const back = payloadOf(JSON.parse(JSON.stringify(row)), none) as BytesPayload;
          expect(back.contentType).to.equal(type);
          expect(digestOf(back.data)).to.equal(digestOf(data));
        },
      ),
    );
  });

  it("is a value in the status for any JSON that loses nothing there", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const payload = jsonPayload(value as never);
        const row = inlineValue(payload);
        expect(row).to.have.any.keys("json", "text");
        const back = payloadOf(JSON.parse(JSON.stringify(row)), none) as BytesPayload;
        expect(JSON.parse(Buffer.from(back.data).toString())).to.deep.equal(
          JSON.parse(Buffer.from(payload.data).toString()),
        );
      }),
    );
  });

  for (const text of ["12345678901234567890", "1.0", '{"a":1,"a":2}', "1e400", '"\\u0041"', "{ }", "not json"]) {
    it(`is text for ${text}, which a JSON value would not keep`, () => {
      expect(inlineValue(new BytesPayload(Buffer.from(text), "application/json"))).to.include({ text });
    });
  }
});

describe("a status", () => {
  const facts = { generation: 1, conditions: [] };

  it("has the time of its first condition from the first write, not from the CRD's default", () => {
    const [type, status, reason] = ["Ready", "Unknown", "Pending"] as const;
    const conditions = [{ type, status, reason, message: "", lastTransitionTime: "1970-01-01T00:00:00Z" }];
    const verdict = { phase: "Running", message: "a" } as const;
    const { conditions: written } = renderStatus({ generation: 1, conditions, rows: [], verdict }, 5_000);
    expect(written?.[0]?.lastTransitionTime).to.equal("1970-01-01T00:00:05Z");
  });

  it("keeps the time of a condition whose status stays", () => {
    const first = renderStatus({ ...facts, rows: [], verdict: { phase: "Running", message: "a" } }, 5_000);
    const next = { generation: 1, conditions: first.conditions ?? [], rows: [] };
    const second = renderStatus({ ...next, verdict: { phase: "Running", message: "b" } }, 9_000);
    expect(second.conditions?.map(({ lastTransitionTime }) => lastTransitionTime)).to.deep.equal(
      Array(3).fill("1970-01-01T00:00:05Z"),
    );
    const third = renderStatus({ ...next, verdict: { phase: "Succeeded", message: "" } }, 9_000);
    expect(new Set(third.conditions?.map(({ lastTransitionTime }) => lastTransitionTime))).to.deep.equal(
      new Set(["1970-01-01T00:00:09Z"]),
    );
  });

  it("names the step, the attempts and the processor's own code of a failure", () => {
    const row: StepRow = { name: "a", state: "Failed", attempts: 3 };
    const error = {
      code: "ProcessorFailed",
      kind: "Processor",
      message: "no",
      processorCode: "Nope",
      step: "a",
    } as const;
    const message = 'step "a" failed after 3 attempts: ProcessorFailed (Nope): no';
    expect(failure(error, [row])).to.deep.equal({ phase: "Failed", reason: "StepFailed", message });
    const timeout = { code: "DeadlineExceeded", kind: "User", message: "over" } as const;
    expect(failure(timeout as never, [row])).to.include({ reason: "PipelineTimeout" });
  });

  it("cancels what was running and skips what had not begun, when a run ends without being run on", () => {
    const rows: StepRow[] = [
      { name: "a", state: "Succeeded", attempts: 1 },
      { name: "b", state: "Running", attempts: 1 },
      { name: "c", state: "Waiting" },
    ];
    const states = cancelledRows(rows, "Cancelled").map(({ state, reason }) => [state, reason]);
    expect(states).to.deep.equal([
      ["Succeeded", undefined],
      ["Cancelled", "Cancelled"],
      ["Skipped", "Cancelled"],
    ]);
  });

  it("cuts a message at its bytes and never in the middle of a character", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 8, max: 60 }), (text, bytes) => {
        const short = shortened(text, bytes);
        expect(Buffer.byteLength(short)).to.be.at.most(bytes);
        expect(text.startsWith(short.replace(/…$/, "")) || short === text).to.equal(true);
      }),
    );
  });
});

describe("the delay queue", () => {
  it("gives everything when it is due, in the order of its times, behind one timer", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(20), fc.nat(5_000))), async (entries) => {
        const time = new VirtualTime();
        const start = time.ports.clock.now();
        const got: [string, number][] = [];
        const queue = new DelayQueue<string>(
          time.ports,
          (item) => void got.push([item, time.ports.clock.now() - start]),
        );
        const last = new Map<string, number>();
        for (const [key, delayMs] of entries) {
          queue.set(`${key}`, `${key}`, start + delayMs);
          last.set(`${key}`, delayMs);
        }
        expect(time.delays.length).to.be.at.most(1);
        await time.advance(10_000);
        expect(new Map(got)).to.deep.equal(last);
        expect(got.map(([, atMs]) => atMs)).to.deep.equal(got.map(([, atMs]) => atMs).toSorted((a, b) => a - b));
        expect(queue.size).to.equal(0);
      }),
      { numRuns: 40 },
    );
  });
});

describe("owners", () => {
  it("count take-overs, five at most", () => {
    expect(nextOwner(undefined, "me")).to.deep.equal({ replica: "me", epoch: 1 });
    expect(nextOwner({ replica: "x", epoch: 3 }, "me")).to.deep.equal({ replica: "me", epoch: 4, takeovers: 1 });
    expect(nextOwner({ replica: "x", epoch: 3, takeovers: 5 }, "me")).to.equal(undefined);
  });
});

describe("waiters", () => {
  it("are found by what wakes them, and by nothing else once they wait for something else", () => {
    const waiters = new Waiters();
    expect(waiters.add("team/one", ["p/a", "p/b"], 5)).to.equal(5);
    expect(waiters.add("team/one", ["p/c"], 9)).to.equal(5);
    expect(waiters.of("p/a")).to.deep.equal([]);
    expect(waiters.of("p/c")).to.deep.equal(["team/one"]);
    waiters.delete("team/one");
    expect(waiters.of("p/c")).to.deep.equal([]);
    expect(waiters.size).to.equal(0);
  });
});

describe("what is kept of an Execution in memory", () => {
  const base = {
    apiVersion: "millrace.dev/v1alpha1",
    kind: "Execution",
    metadata: { name: "one", uid: "u", managedFields: [{}] },
  };

  it("leaves out rows, outputs, managedFields and large inputs", () => {
    const status = {
      phase: "Running",
      steps: [{ name: "a" }],
      output: { text: "x" },
      owner: { replica: "r", epoch: 1 },
    };
    const kept = slim({ ...base, spec: { pipeline: "p", input: { text: "x".repeat(9_000) } }, status } as never);
    expect(kept).to.deep.equal({
      apiVersion: "millrace.dev/v1alpha1",
      kind: "Execution",
      metadata: { name: "one", uid: "u" },
      spec: { pipeline: "p" },
      status: { phase: "Running", owner: { replica: "r", epoch: 1 } },
      inputOmitted: true,
    });
  });

  it("keeps a small input, and of a finished one only what a ttl needs", () => {
    const small = slim({ ...base, spec: { pipeline: "p", input: { json: { a: [1] } } } } as never);
    expect(small.spec.input).to.deep.equal({ json: { a: [1] } });
    const status = { conditions: [{ type: "Complete", status: "True" }] };
    const done = slim({
      ...base,
      spec: { pipeline: "p", input: { json: 1 }, ttlSecondsAfterFinished: 5 },
      status,
    } as never);
    expect(done.spec).to.deep.equal({ pipeline: "p", ttlSecondsAfterFinished: 5 });
  });
});
