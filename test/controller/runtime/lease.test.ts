import { expect } from "chai";
import { LeaderElector, type Leadership } from "../../../controller/runtime/lease.ts";
import type { JsonObject } from "../../../engine/payload.ts";
import { silentLogger, turn, VirtualTime } from "./fakes.ts";
import { MemoryClient, unavailable } from "./memory-client.ts";

describe("leader election", () => {
  const stop = new AbortController();
  let client: MemoryClient;
  let time: VirtualTime;
  let leaders: Leadership[];

  beforeEach(() => {
    client = new MemoryClient();
    time = new VirtualTime();
    leaders = [];
  });

  afterEach(async () => {
    for (const leader of leaders) await leader[Symbol.asyncDispose]();
  });

  /** Each candidate has a client of its own to the same API server, so that one can be cut off. */
  function candidate(identity: string, through: MemoryClient = client) {
    const common = { ports: time.ports, logger: silentLogger, namespace: "ns", name: "millrace" };
    const elector = new LeaderElector({ ...common, client: through, identity });
    const state: { leadership?: Leadership } = {};
    void elector.acquire(stop.signal).then((leadership) => {
      state.leadership = leadership;
      leaders.push(leadership);
    });
    return state;
  }

  /** Another connection to the same objects. */
  function connection(): MemoryClient {
    const more = new MemoryClient();
    for (const method of ["get", "create", "update"] as const) {
      const shared = client[method].bind(client) as (...args: unknown[]) => Promise<unknown>;
      const gated = async (...args: unknown[]) => {
        await more.gate(method, "millrace");
        return shared(...args);
      };
      Object.assign(more, { [method]: gated });
    }
    return more;
  }

  const lease = () => client.objects.get("millrace")?.spec as JsonObject;

  it("makes the first candidate leader at once, and nobody else while it renews", async () => {
    const one = candidate("one");
    await turn();
    const two = candidate("two");
    await time.advance(120_000);
    expect(one.leadership?.signal.aborted).to.equal(false);
    expect(two.leadership).to.equal(undefined);
    expect(lease()).to.include({ holderIdentity: "one", leaseTransitions: 0, leaseDurationSeconds: 15 });
  });

  it("renews every two seconds by one write and no read", async () => {
    candidate("one");
    await turn();
    client.calls.length = 0;
    await time.advance(10_000);
    expect(client.calls).to.deep.equal(Array(5).fill("update millrace"));
  });

  it("hands over 15 s after the leader was last seen to renew, by the watcher's own clock", async () => {
    const cut = connection();
    const one = candidate("one", cut);
    await turn();
    const two = candidate("two");
    await time.advance(4_000);
    const renewed = lease().renewTime;
    cut.gate = () => {
      throw unavailable;
    };
    await time.advance(9_000);
    expect(one.leadership?.signal.aborted).to.equal(false);
    await time.advance(1_500);
    // Renewing failed for ten seconds: it stops before anybody else may start.
    expect(one.leadership?.signal.aborted).to.equal(true);
    expect(two.leadership).to.equal(undefined);
    expect(lease().renewTime).to.equal(renewed);
    await time.advance(6_500);
    expect(two.leadership?.epoch).to.equal(1);
    expect(lease()).to.include({ holderIdentity: "two", leaseTransitions: 1 });
  });

  it("believes no clock but its own: a renewTime from the past or future changes nothing", async () => {
    for (const renewTime of ["1999-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"]) {
      const spec = { holderIdentity: "other", leaseDurationSeconds: 15, renewTime, leaseTransitions: 4 };
      client.put({ apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: "millrace" }, spec });
      const one = candidate(`after-${renewTime}`);
      await time.advance(14_900);
      expect(one.leadership).to.equal(undefined);
      await time.advance(2_200);
      expect(one.leadership?.epoch).to.equal(5);
      await one.leadership?.[Symbol.asyncDispose]();
    }
  });

  it("gives the Lease back when it is done, so that the next need not wait", async () => {
    const one = candidate("one");
    await turn();
    const two = candidate("two");
    await turn();
    await one.leadership?.[Symbol.asyncDispose]();
    expect(one.leadership?.signal.aborted).to.equal(true);
    expect(lease().holderIdentity).to.equal("");
    await time.advance(2_000);
    expect(two.leadership?.epoch).to.equal(1);
  });

  it("stops leading as soon as it sees another holder", async () => {
    const one = candidate("one");
    await turn();
    const known = client.objects.get("millrace");
    if (!known) throw new Error("no Lease");
    client.put({ ...known, spec: { ...lease(), holderIdentity: "usurper" } });
    await time.advance(4_100);
    expect(one.leadership?.signal.aborted).to.equal(true);
    await one.leadership?.[Symbol.asyncDispose]();
    expect(lease().holderIdentity).to.equal("usurper");
  });

  it("goes on after errors shorter than the renew deadline", async () => {
    const one = candidate("one");
    await turn();
    client.gate = () => {
      throw unavailable;
    };
    await time.advance(7_000);
    client.gate = () => {};
    await time.advance(60_000);
    expect(one.leadership?.signal.aborted).to.equal(false);
  });

  it("counts a renewal that hangs as none", async () => {
    const cut = connection();
    const one = candidate("one", cut);
    await turn();
    // As a request over a half-open connection: it ends when its signal does.
    Object.assign(cut, {
      update: (...args: unknown[]) =>
        new Promise((_resolve, reject) => {
          const signal = args.at(-1) as AbortSignal;
          signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
        }),
    });
    await time.advance(9_900);
    expect(one.leadership?.signal.aborted).to.equal(false);
    await time.advance(200);
    expect(one.leadership?.signal.aborted).to.equal(true);
    Reflect.deleteProperty(cut, "update");
  });

  it("never has two leaders at once, whoever is cut off when", async () => {
    const connections = [connection(), connection(), connection()];
    const candidates = connections.map((through, index) => candidate(`replica-${index}`, through));
    await turn();
    let seed = 7;
    const random = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed / 2 ** 31;
    };
    let led = 0;
    for (let second = 0; second < 300; second++) {
      for (const through of connections) {
        if (random() < 0.06) {
          const up = random() < 0.5;
          through.gate = () => {
            if (!up) throw unavailable;
          };
        }
      }
      await time.advance(1_000);
      const leading = candidates.filter(({ leadership }) => leadership && !leadership.signal.aborted);
      expect(leading.length).to.be.at.most(1);
      led += leading.length;
    }
    expect(led).to.be.greaterThan(15);
    for (const through of connections) through.gate = () => {};
  });

  it("tells in annotations what is asked of it, and leaves those of others", async () => {
    const annotations = { "millrace.dev/endpoint": "https://one" };
    const common = { client, ports: time.ports, logger: silentLogger, namespace: "ns", name: "millrace" };
    leaders.push(await new LeaderElector({ ...common, identity: "one", annotations }).acquire(stop.signal));
    const known = client.objects.get("millrace");
    expect(known?.metadata.annotations).to.deep.equal(annotations);
    if (!known) throw new Error("no Lease");
    client.put({ ...known, metadata: { ...known.metadata, annotations: { ...annotations, other: "x" } } });
    await time.advance(6_000);
    expect(client.objects.get("millrace")?.metadata.annotations).to.deep.equal({ ...annotations, other: "x" });
  });

  it("refuses settings under which two could lead", () => {
    const common = { client, ports: time.ports, logger: silentLogger, namespace: "ns", name: "x", identity: "one" };
    expect(() => new LeaderElector({ ...common, leaseDurationMs: 10_000 })).to.throw("leaseDurationMs");
    expect(() => new LeaderElector({ ...common, retryPeriodMs: 9_000 })).to.throw("renewDeadlineMs");
  });
});
