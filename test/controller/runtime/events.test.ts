import { expect } from "chai";
import type { KubernetesObject } from "../../../controller/api/client.ts";
import { createEventRecorder, type EventRecorder } from "../../../controller/runtime/events.ts";
import { noMetrics } from "../../../controller/runtime/metrics.ts";
import type { JsonObject } from "../../../engine/payload.ts";
import { word } from "./fake-api.ts";
import { silentLogger, turn, until, VirtualTime } from "./fakes.ts";
import { MemoryClient, unavailable } from "./memory-client.ts";

describe("the event recorder", () => {
  const note = { type: "Warning", reason: "StepFailed", message: "step count failed" } as const;
  const object = word("a", 1);
  let client: MemoryClient;
  let time: VirtualTime;
  let recorder: EventRecorder;
  let dropped: string[];

  beforeEach(() => {
    client = new MemoryClient();
    let names = 0;
    time = new VirtualTime(() => ++names / 2 ** 16);
    dropped = [];
    const metrics = { ...noMetrics, eventDropped: (cause: string) => void dropped.push(cause) };
    recorder = createEventRecorder({ client, ports: time.ports, logger: silentLogger, metrics, instance: "replica-0" });
  });

  afterEach(async () => {
    await recorder[Symbol.asyncDispose]();
  });

  const written = () => [...client.objects.values()] as (KubernetesObject & { note: string; series?: JsonObject })[];
  const settled = async () => {
    for (let i = 0; i < 50; i++) await turn();
  };

  it("writes what happened to which object", async () => {
    recorder.record(object, note);
    await until(() => client.objects.size === 1);
    const [event] = written();
    expect(event?.metadata.name).to.match(/^a\.[0-9a-f]+$/);
    expect(event).to.deep.include({
      type: "Warning",
      reason: "StepFailed",
      note: "step count failed",
      reportingController: "millrace.dev/millrace",
      reportingInstance: "replica-0",
    });
    expect(event?.regarding).to.deep.equal({
      apiVersion: "test.dev/v1",
      kind: "Word",
      namespace: "ns",
      name: "a",
      uid: "uid-a",
      resourceVersion: "1",
    });
  });

  it("counts repeats in the event that is there, and begins a new one after ten minutes", async () => {
    recorder.record(object, note);
    await settled();
    recorder.record(object, note);
    await settled();
    expect(written()).to.have.length(1);
    expect(written()[0]?.series).to.include({ count: 2 });
    await time.advance(600_000);
    recorder.record(object, note);
    await settled();
    expect(written()).to.have.length(2);
  });

  it("puts what piles up while one is being written into one more write", async () => {
    const gate = Promise.withResolvers<void>();
    client.gate = () => gate.promise;
    for (let i = 0; i < 20; i++) recorder.record(object, note);
    gate.resolve();
    await settled();
    recorder.record(object, note);
    await settled();
    expect(client.calls.length).to.be.at.most(3);
    expect(written()[0]?.series).to.include({ count: 21 });
  });

  it("writes an event anew that the server has forgotten", async () => {
    recorder.record(object, note);
    await settled();
    client.objects.clear();
    recorder.record(object, note);
    await settled();
    expect(written()).to.have.length(1);
  });

  it("combines many different messages of one reason", async () => {
    for (let i = 0; i < 15; i++) {
      recorder.record(object, { ...note, message: `step s${i} failed` });
      await settled();
    }
    expect(written()).to.have.length(11);
    expect(written().at(-1)?.note).to.equal("(combined from similar events): step s10 failed");
    expect(written().at(-1)?.series).to.include({ count: 5 });
  });

  it("lets one object have 25 writes at once and one more every five minutes, others not concerned", async () => {
    for (let i = 0; i < 40; i++) {
      recorder.record(object, { ...note, reason: `Reason${i}` });
      await settled();
    }
    expect(written()).to.have.length(25);
    expect(dropped).to.deep.equal(Array(15).fill("RateLimited"));
    recorder.record(word("b", 1), note);
    await settled();
    expect(written()).to.have.length(26);
    await time.advance(300_000);
    recorder.record(object, { ...note, reason: "Later" });
    await settled();
    expect(written()).to.have.length(27);
  });

  it("never throws and never waits: what cannot be written is dropped and counted", async () => {
    client.gate = () => {
      throw unavailable;
    };
    recorder.record(object, note);
    await settled();
    expect(dropped).to.deep.equal(["Failed"]);
    client.gate = () => {};
    recorder.record(object, note);
    await settled();
    expect(written()).to.have.length(1);
  });

  it("cuts a message at the API's limit, and a name that is too long", async () => {
    const long = word("a".repeat(253), 1);
    recorder.record(long, { ...note, message: "x".repeat(5_000) });
    await settled();
    expect(written()[0]?.note).to.have.length(1024);
    expect(written()[0]?.metadata.name.length).to.equal(253);
  });

  it("holds no more than a thousand waiting events", async () => {
    client.gate = () => new Promise(() => {});
    for (let i = 0; i < 1_100; i++) recorder.record(word(`w${i}`, 1), note);
    expect(dropped.length).to.equal(99);
    client.gate = () => {};
    recorder = createEventRecorder({ client, ports: time.ports, logger: silentLogger, instance: "replica-0" });
  });
});
