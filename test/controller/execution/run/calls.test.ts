import { expect } from "chai";
import type { ProcessorVersion } from "../../../../controller/catalog.ts";
import { StepLogs } from "../../../../controller/execution/recording/step-logs.ts";
import { Calls } from "../../../../controller/execution/run/calls.ts";
import { systemPorts } from "../../../../engine/clock.ts";
import { textPayload } from "../../../../engine/payload.ts";
import { never } from "../../payloads/store-folder.ts";

const request = { payload: textPayload("in"), metadata: {}, options: {} };
const attempt = {
  step: 0,
  stepName: "each",
  processor: "echo",
  attempt: 1,
  idempotencyKey: "u/each",
  timeoutMs: 1_000,
  execution: { namespace: "team", name: "one", uid: "u" },
};

describe("the calls of a run", () => {
  it("let a timer that is due have its turn while ten thousand attempts end at once", async () => {
    const calls = callsOf();
    let made = 0;
    let madeByTimer = 0;
    setTimeout(() => {
      madeByTimer = made;
    }, 0);
    for (; made < 10_000; made++) await calls.invoke(attempt, request, never);
    expect(madeByTimer).to.be.within(1, 1_000);
  });
});

/** Whose Processor answers at once. */
function callsOf(): Calls {
  const invoke = () => Promise.resolve({ ok: true, payload: request.payload, metadata: {} });
  const version = { generation: 1, digests: [], called: "process", invoke } as unknown as ProcessorVersion;
  const room = () => Promise.resolve();
  const parts = {
    catalog: { processors: { get: () => ({ serving: version }) } },
    payloads: { keep: (payload: unknown) => Promise.resolve(payload) },
    recorder: { used: () => undefined, room },
    memory: { invoked: () => undefined, room },
    logs: new StepLogs(),
    scheduler: systemPorts.scheduler,
  };
  return new Calls(parts as unknown as ConstructorParameters<typeof Calls>[0]);
}
