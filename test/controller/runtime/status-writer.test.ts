import { expect } from "chai";
import fc from "fast-check";
import { ApiError, type KubernetesObject } from "../../../controller/api/client.ts";
import { type Owner, StatusWriter, type WriteOutcome } from "../../../controller/runtime/status-writer.ts";
import type { JsonObject } from "../../../engine/payload.ts";
import { word, words } from "./fake-api.ts";
import { silentLogger, turn, VirtualTime } from "./fakes.ts";
import { conflict, MemoryClient, unavailable } from "./memory-client.ts";

const me: Owner = { replica: "one", epoch: 1 };
const other: Owner = { replica: "two", epoch: 2 };

describe("the status writer", () => {
  const signal = new AbortController().signal;
  let client: MemoryClient;
  let time: VirtualTime;
  let writer: StatusWriter;

  beforeEach(() => {
    client = new MemoryClient();
    time = new VirtualTime();
    writer = new StatusWriter({ client, resource: words, ports: time.ports, logger: silentLogger });
  });

  const stored = () => client.objects.get("a");

  it("sends only what changed, and nothing when nothing did", async () => {
    const bodies: unknown[] = [];
    const patch = client.patch.bind(client);
    client.patch = (resource, ref, body) => {
      bodies.push(body.body);
      return patch(resource, ref, body);
    };
    const object = client.put(word("a", 1, { status: { phase: "Running", output: { text: "x" }, progress: "1/2" } }));
    const next = { phase: "Running", output: { payload: { bytes: 1 } }, progress: "2/2" };
    const written = await writer.patch(object, next, signal);
    expect(written.kind).to.equal("Written");
    expect(bodies).to.deep.equal([
      {
        metadata: { resourceVersion: "1" },
        status: { output: { text: null, payload: { bytes: 1 } }, progress: "2/2" },
      },
    ]);
    const unchanged = await writer.patch(stored() ?? object, next, signal);
    expect(unchanged.kind).to.equal("Unchanged");
    expect(bodies).to.have.length(1);
  });

  it("keeps a value that is null, which a merge patch would remove", async () => {
    const object = client.put(word("a", 1));
    await writer.patch(object, { output: { json: null } }, signal);
    expect(stored()?.status).to.deep.equal({ output: { json: null } });
    expect(client.calls).to.deep.equal(["update a"]);
  });

  it("has one write in flight per object, and writes only the last of the states that came meanwhile", async () => {
    const object = client.put(word("a", 1));
    const gate = Promise.withResolvers<void>();
    client.gate = () => gate.promise;
    const outcomes = [1, 2, 3, 4].map((step) => writer.patch(object, { step }, signal));
    await turn();
    expect(client.calls).to.have.length(1);
    gate.resolve();
    const versions = (await Promise.all(outcomes)).map((outcome) => versionOf(outcome));
    expect(client.calls).to.deep.equal(["patch a", "patch a"]);
    expect(stored()?.status).to.deep.equal({ step: 4 });
    expect(versions).to.deep.equal(["2", "3", "3", "3"]);
  });

  it("writes different objects at the same time", async () => {
    const gate = Promise.withResolvers<void>();
    client.gate = () => gate.promise;
    const objects = ["a", "b", "c"].map((name) => client.put(word(name, 1)));
    const outcomes = objects.map((object) => writer.patch(object, { step: 1 }, signal));
    await turn();
    expect(client.calls).to.have.length(3);
    gate.resolve();
    await Promise.all(outcomes);
  });

  it("leaves another writer's fields as they are on the server, whatever was known of them", async () => {
    const careful = new StatusWriter({
      client,
      resource: words,
      ports: time.ports,
      logger: silentLogger,
      foreign: ["counts"],
    });
    /** From what was known before the other wrote: the conflict is waited out. */
    const writeLate = async (known: KubernetesObject, status: JsonObject) => {
      const written = careful.patch(known, status, signal);
      await time.scheduled(() => true);
      await time.advance(1_000);
      return (await written).kind;
    };
    const first = client.put(word("a", 1));
    await writer.patch(first, { step: 1, counts: { running: 1 } }, signal);
    expect(await writeLate(first, { step: 2 })).to.equal("Written");
    expect(stored()?.status).to.deep.equal({ step: 2, counts: { running: 1 } });
    const second = stored() ?? first;
    await writer.patch(second, { step: 2, counts: { running: 7 } }, signal);
    expect(await writeLate(second, { step: 3, nothing: null })).to.equal("Written");
    expect(stored()?.status).to.deep.equal({ step: 3, nothing: null, counts: { running: 7 } });
    const third = stored() ?? first;
    expect((await careful.patch(third, { step: 3, nothing: null }, signal)).kind).to.equal("Unchanged");
  });

  it("tries again with the newest state what got no answer", async () => {
    const object = client.put(word("a", 1));
    let failures = 3;
    client.gate = () => {
      if (failures-- > 0) throw unavailable;
    };
    const first = writer.patch(object, { step: 1 }, signal);
    await time.scheduled((delayMs) => delayMs === 100);
    const second = writer.patch(object, { step: 2 }, signal);
    for (const delay of [100, 200, 400]) {
      await time.scheduled((delayMs) => delayMs === delay);
      await time.advance(delay);
    }
    expect(versionOf(await first)).to.equal(versionOf(await second));
    expect(stored()?.status).to.deep.equal({ step: 2 });
  });

  it("does not try again what the server refuses", async () => {
    const object = client.put(word("a", 1));
    const refusal = new ApiError({ code: 422, reason: "Invalid", message: "status.step: too large" });
    client.gate = () => {
      throw refusal;
    };
    expect(await writer.patch(object, { step: 1 }, signal).catch((error: unknown) => error)).to.equal(refusal);
    expect(client.calls).to.have.length(1);
    client.gate = () => {};
    expect((await writer.patch(object, { step: 1 }, signal)).kind).to.equal("Written");
  });

  it("stops trying when its caller gives up", async () => {
    const object = client.put(word("a", 1));
    client.gate = () => {
      throw unavailable;
    };
    const stop = new AbortController();
    const written = writer.patch(object, { step: 1 }, stop.signal).catch((error: unknown) => error);
    await time.scheduled((delayMs) => delayMs === 100);
    stop.abort(new Error("shutting down"));
    expect(await written).to.equal(stop.signal.reason);
    expect(time.delays).to.deep.equal([]);
  });

  it("tells that the object is gone, or is another of the same name", async () => {
    const object = client.put(word("a", 1));
    client.objects.clear();
    expect((await writer.put(object, { owner: me }, undefined, signal)).kind).to.equal("Gone");
    const again = word("a", 1);
    client.put({ ...again, metadata: { ...again.metadata, uid: "another" } });
    for (const write of [
      () => writer.put(object, { owner: me }, undefined, signal),
      () => writer.patch(object, { step: 1 }, signal),
    ]) {
      const outcome = write();
      await turn();
      await time.advance(100);
      expect((await outcome).kind).to.equal("Gone");
    }
    expect(stored()?.status).to.equal(undefined);
  });

  describe("on condition of the owner", () => {
    const cases: readonly [string, Owner | undefined, Owner | undefined, WriteOutcome["kind"]][] = [
      ["nobody is recorded and nobody is expected", undefined, undefined, "Written"],
      ["the expected one is recorded", me, me, "Written"],
      ["the one who writes is recorded already: an earlier answer was lost", me, undefined, "Written"],
      ["the dead one is recorded that is taken over from", other, other, "Written"],
      ["another is recorded and nobody is expected", other, undefined, "Lost"],
      ["another is recorded than the expected one", other, me, "Lost"],
      ["nobody is recorded any more", undefined, other, "Lost"],
    ];
    for (const [title, recorded, expected, kind] of cases) {
      for (const seen of ["and the cache knows it", "and the cache does not know it"]) {
        it(`gives ${kind} when ${title}, ${seen}`, async () => {
          const fresh = client.put(word("a", 1, recorded ? { status: { owner: recorded } } : {}));
          const stale = { ...word("a", 0), metadata: { ...fresh.metadata, resourceVersion: "0" } };
          const staleStatus = expected ? { ...stale, status: { owner: expected } } : stale;
          const object = seen === "and the cache knows it" ? fresh : staleStatus;
          const writing = writer.put(object, { owner: me, step: 1 }, expected, signal);
          for (let i = 0; i < 10; i++) await turn();
          await time.advance(1_000);
          const outcome = await writing;
          expect(outcome.kind).to.equal(kind);
          expect(stored()?.status).to.deep.equal(
            kind === "Written" ? { owner: me, step: 1 } : recorded ? { owner: recorded } : undefined,
          );
        });
      }
    }

    it("goes on after conflicts with writes that are not an owner's", async () => {
      const object = client.put(word("a", 1));
      let others = 3;
      client.gate = (verb) => {
        if (verb !== "update" || others-- <= 0) return;
        const known = stored() ?? object;
        client.put({ ...known, metadata: { ...known.metadata, labels: { edit: String(others) } } });
      };
      const writing = writer.put(object, { owner: me, step: 1 }, undefined, signal);
      for (const delay of [5, 10, 20]) {
        await time.scheduled((delayMs) => delayMs === delay);
        await time.advance(delay);
      }
      expect((await writing).kind).to.equal("Written");
      expect(stored()?.metadata.labels).to.deep.equal({ edit: "0" });
    });

    it("takes a write whose answer was lost for written", async () => {
      const object = client.put(word("a", 1));
      let lost = 1;
      client.answerGate = () => {
        if (lost-- > 0) throw unavailable;
      };
      const writing = writer.put(object, { owner: me, step: 1 }, undefined, signal);
      await time.scheduled((delayMs) => delayMs === 100);
      await time.advance(100);
      await time.scheduled((delayMs) => delayMs === 5);
      await time.advance(5);
      expect((await writing).kind).to.equal("Unchanged");
      expect(stored()?.metadata.resourceVersion).to.equal("2");
    });

    it("lets the owner change what else is recorded of itself", async () => {
      const object = client.put(word("a", 1, { status: { owner: { ...me, takeovers: 2 } } }));
      const outcome = await writer.put(object, { owner: me, step: 1 }, me, signal);
      expect(outcome.kind).to.equal("Written");
    });
  });

  it("ends with the last state written and never two writes at once, whatever fails in whatever order", async () => {
    const fault = fc.constantFrom("none", "none", "none", "refused", "lost", "conflict");
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(3), { minLength: 1, maxLength: 12 }),
        fc.array(fault, { maxLength: 12 }),
        fc.boolean(),
        async (gaps, faults, owned) => {
          const server = new MemoryClient();
          const clock = new VirtualTime(0.5);
          const common = { client: server, resource: words, ports: clock.ports, logger: silentLogger };
          const subject = new StatusWriter(common);
          const object = server.put(word("a", 1));
          let inFlight = 0;
          const left = [...faults];
          server.gate = async (verb) => {
            expect(++inFlight).to.equal(1);
            await turn();
            inFlight--;
            const next = left.shift();
            if (next === "refused") throw unavailable;
            if (next === "conflict" && verb !== "get") throw conflict;
            if (next === "lost") {
              server.answerGate = () => {
                server.answerGate = () => {};
                throw unavailable;
              };
            }
          };
          const outcomes: Promise<WriteOutcome>[] = [];
          let settled = 0;
          for (const [step, gap] of gaps.entries()) {
            const write = owned
              ? subject.put(object, { owner: me, step }, outcomes.length > 0 ? me : undefined, signal)
              : subject.patch(object, { step }, signal);
            outcomes.push(write.finally(() => settled++));
            for (let i = 0; i < gap; i++) await turn();
          }
          while (settled < outcomes.length) await clock.advance(10_000);
          const kinds = (await Promise.all(outcomes)).map(({ kind }) => kind);
          expect(kinds).to.satisfy((all: string[]) => all.every((kind) => kind === "Written" || kind === "Unchanged"));
          expect(server.objects.get("a")?.status).to.deep.include({ step: gaps.length - 1 });
        },
      ),
      { numRuns: 150 },
    );
  });
});

function versionOf(outcome: WriteOutcome): string | undefined {
  return outcome.kind === "Gone" ? undefined : outcome.object.metadata.resourceVersion;
}
