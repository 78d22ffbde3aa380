import { expect } from "chai";
import { ApiError, type Client } from "../../../controller/api/client.ts";
import { NamespaceUids } from "../../../controller/payloads/namespaces.ts";
import { VirtualTime } from "../runtime/fakes.ts";
import { never } from "./store-folder.ts";

/** An API server that answers when it is told to, or at once. */
class Namespaces {
  uid = "first";
  asked = 0;
  /** Absent: answers at once. */
  gate: PromiseWithResolvers<void> | undefined;

  readonly client = {
    get: async (_resource: unknown, _key: unknown, signal: AbortSignal) => {
      this.asked += 1;
      const aborted = Promise.withResolvers<never>();
      aborted.promise.catch(() => undefined);
      signal.addEventListener("abort", () => aborted.reject(signal.reason), { once: true });
      if (this.gate !== undefined) await Promise.race([this.gate.promise, aborted.promise]);
      return { metadata: { name: "team", uid: this.uid } };
    },
  } as unknown as Client;
}

describe("the UIDs of namespaces", () => {
  it("are asked for once for all who want one at the same time", async () => {
    const server = new Namespaces();
    const uids = new NamespaceUids(server.client, new VirtualTime().ports.clock);
    const found = await Promise.all(Array.from({ length: 5 }, () => uids.uidOf("team", never)));
    expect(found).to.deep.equal(Array(5).fill("first"));
    expect(server.asked).to.equal(1);
  });

  it("are those of today for a namespace that was made anew, and many runs a second do not ask more than once", async () => {
    const server = new Namespaces();
    const time = new VirtualTime();
    const uids = new NamespaceUids(server.client, time.ports.clock);
    for (let run = 0; run < 1_000; run++) expect(await uids.uidOf("team", never)).to.equal("first");
    expect(server.asked).to.equal(1);
    server.uid = "second";
    await time.advance(1_001);
    expect(await uids.uidOf("team", never)).to.equal("second");
  });

  it("count their age from the question, not from a late answer", async () => {
    const server = new Namespaces();
    const time = new VirtualTime();
    const uids = new NamespaceUids(server.client, time.ports.clock);
    server.gate = Promise.withResolvers();
    const first = uids.uidOf("team", never);
    await time.advance(1_001);
    server.gate.resolve();
    await first;
    server.uid = "second";
    expect(await uids.uidOf("team", never)).to.equal("second");
  });

  it("are found for one although the other, who asked first, hung up", async () => {
    const server = new Namespaces();
    server.gate = Promise.withResolvers();
    const uids = new NamespaceUids(server.client, new VirtualTime().ports.clock);
    const hungUp = new AbortController();
    const mine = uids.uidOf("team", hungUp.signal).catch((error: unknown) => error);
    const theirs = uids.uidOf("team", never);
    hungUp.abort(new Error("hung up"));
    expect(await mine).to.have.property("message", "hung up");
    server.gate.resolve();
    expect(await theirs).to.equal("first");
    expect(server.asked).to.equal(1);
  });

  it("are asked for anew after a failure, and after all have hung up", async () => {
    const server = new Namespaces();
    server.gate = Promise.withResolvers();
    const uids = new NamespaceUids(server.client, new VirtualTime().ports.clock);
    const failed = uids.uidOf("team", never).catch((error: unknown) => error);
    const refusal = new ApiError({ code: 503, reason: "ServiceUnavailable", message: "not now" });
    server.gate.reject(refusal);
    expect(await failed).to.equal(refusal);
    server.gate = Promise.withResolvers();
    const hungUp = new AbortController();
    const mine = uids.uidOf("team", hungUp.signal).catch((error: unknown) => error);
    hungUp.abort(new Error("hung up"));
    await mine;
    server.gate = undefined;
    expect(await uids.uidOf("team", never)).to.equal("first");
  });
});
