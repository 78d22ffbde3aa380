import { expect } from "chai";
import { KeyedPool, type PoolOptions } from "../../backends/pool.ts";
import { MillraceError } from "../../engine/errors.ts";
import { ManualPorts, never, rejection, turn } from "./support.ts";

interface Item {
  readonly id: number;
  broken: boolean;
}

/** A pool of numbered items, and what became of them. */
function numbered(changes: Partial<PoolOptions<Item>> = {}) {
  const ports = new ManualPorts();
  const ended: number[] = [];
  let made = 0;
  const pool = new KeyedPool<Item>({
    name: "items",
    maxItems: 2,
    maxWaiters: 100,
    scheduler: ports.scheduler,
    create: () => {
      made += 1;
      return Promise.resolve({ id: made, broken: false });
    },
    destroy: (item) => {
      ended.push(item.id);
      return Promise.resolve();
    },
    isBroken: (item) => item.broken,
    ...changes,
  });
  return { pool, ports, ended, made: () => made };
}

/** A use that ends when it is told to. */
function use(pool: KeyedPool<Item>, key?: string, signal: AbortSignal = never) {
  let end: (() => void) | undefined;
  let item: Item | undefined;
  const done = pool.use(
    (given) => {
      item = given;
      return new Promise<number>((resolve) => {
        end = () => resolve(given.id);
      });
    },
    signal,
    key,
  );
  return { done, end: () => end?.(), item: () => item };
}

describe("the pool", () => {
  it("makes items when they are needed, and uses them again", async () => {
    const { pool, made } = numbered();
    expect(await pool.use((item) => Promise.resolve(item.id), never)).to.equal(1);
    expect(await pool.use((item) => Promise.resolve(item.id), never)).to.equal(1);
    expect(made()).to.equal(1);
    await pool[Symbol.asyncDispose]();
  });

  it("has no more items than its bound; others wait in their order", async () => {
    const { pool, made } = numbered();
    const uses = [0, 1, 2, 3].map(() => use(pool));
    await turn();
    expect(pool.stats).to.deep.equal({ size: 2, inUse: 2, waiting: 2, rejected: 0 });
    uses[0]?.end();
    await turn();
    expect([uses[2]?.item()?.id, uses[3]?.item()]).to.deep.equal([1, undefined]);
    for (let round = 0; round < 3; round += 1) {
      for (const one of uses) one.end();
      await turn();
    }
    await Promise.all(uses.map(({ done }) => done));
    expect(made()).to.equal(2);
    await pool[Symbol.asyncDispose]();
  });

  it("refuses who comes when the queue is full, and counts it", async () => {
    const { pool } = numbered({ maxItems: 1, maxWaiters: 1 });
    const first = use(pool);
    await turn();
    const second = use(pool);
    expect((await rejection(use(pool).done)).code).to.equal("ResourceExhausted");
    expect(pool.stats.rejected).to.equal(1);
    first.end();
    await turn();
    second.end();
    await pool[Symbol.asyncDispose]();
  });

  it("replaces an item that broke", async () => {
    const { pool, ended } = numbered({ maxItems: 1 });
    await pool.use((item) => {
      item.broken = true;
      return Promise.resolve();
    }, never);
    expect(await pool.use((item) => Promise.resolve(item.id), never)).to.equal(2);
    expect(ended).to.deep.equal([1]);
    await pool[Symbol.asyncDispose]();
  });

  it("replaces an item that broke while nobody used it", async () => {
    const { pool, ended } = numbered({ maxItems: 1 });
    let kept: Item | undefined;
    await pool.use((item) => {
      kept = item;
      return Promise.resolve();
    }, never);
    if (kept !== undefined) kept.broken = true;
    expect(await pool.use((item) => Promise.resolve(item.id), never)).to.equal(2);
    expect(ended).to.deep.equal([1]);
    await pool[Symbol.asyncDispose]();
  });

  it("rejects every waiter when no item can be made, and hangs none", async () => {
    const { pool } = numbered({ create: () => Promise.reject(new MillraceError("Unavailable", "no more")), spares: 1 });
    const codes = await Promise.all([1, 2, 3, 4, 5].map(async () => (await rejection(use(pool).done)).code));
    expect(codes).to.deep.equal(Array.from({ length: 5 }, () => "Unavailable"));
    expect(pool.stats.size).to.equal(0);
    await pool[Symbol.asyncDispose]();
  });

  it("lets go who is aborted while waiting, and leaves the others their turn", async () => {
    const { pool } = numbered({ maxItems: 1 });
    const cancel = new AbortController();
    const first = use(pool);
    await turn();
    const second = use(pool, undefined, cancel.signal);
    const third = use(pool);
    cancel.abort(new MillraceError("Cancelled", "no longer wanted"));
    expect((await rejection(second.done)).code).to.equal("Cancelled");
    first.end();
    await turn();
    third.end();
    expect(await third.done).to.equal(1);
    await pool[Symbol.asyncDispose]();
  });

  it("gives the item back when the work rejects", async () => {
    const { pool } = numbered({ maxItems: 1 });
    await rejection(pool.use(() => Promise.reject(new MillraceError("Internal", "x")), never));
    expect(await pool.use((item) => Promise.resolve(item.id), never)).to.equal(1);
    await pool[Symbol.asyncDispose]();
  });

  it("never gives an item of one key to another: it ends an idle one to make room", async () => {
    const { pool, ended } = numbered({ maxItems: 1 });
    expect(await pool.use((item) => Promise.resolve(item.id), never, "a")).to.equal(1);
    expect(await pool.use((item) => Promise.resolve(item.id), never, "b")).to.equal(2);
    expect(ended).to.deep.equal([1]);
    await pool[Symbol.asyncDispose]();
  });

  it("starves no key: after 32 overtakings the one at the head gets an item of its own", async () => {
    const { pool } = numbered({ maxItems: 1 });
    const order: string[] = [];
    const one = (key: string) => pool.use(() => Promise.resolve(order.push(key)), never, key);
    const all = [one("a"), one("b"), ...Array.from({ length: 60 }, () => one("a"))];
    await Promise.all(all);
    expect(order.indexOf("b")).to.be.within(1, 34);
    await pool[Symbol.asyncDispose]();
  });

  it("keeps a spare ready once it has been used", async () => {
    const { pool, made } = numbered({ maxItems: 3, spares: 1 });
    expect(made()).to.equal(0);
    await pool.use(() => Promise.resolve(), never, "a");
    await turn();
    expect([made(), pool.stats.size]).to.deep.equal([2, 2]);
    await pool[Symbol.asyncDispose]();
  });

  it("ends an item that nobody used for its idle time", async () => {
    const { pool, ports, ended } = numbered({ idleMs: 500 });
    await pool.use(() => Promise.resolve(), never);
    ports.advance(499);
    expect(ended).to.deep.equal([]);
    ports.advance(1);
    expect(ended).to.deep.equal([1]);
    await pool[Symbol.asyncDispose]();
  });

  it("ends the items of a retired key, a busy one after its use", async () => {
    const { pool, ended } = numbered();
    const busy = use(pool, "a");
    await turn();
    pool.retire("a");
    expect(ended).to.deep.equal([]);
    busy.end();
    await busy.done;
    await turn();
    expect([ended, pool.stats.size]).to.deep.equal([[1], 0]);
    await pool[Symbol.asyncDispose]();
  });

  it("drains when it is disposed: its users end, new ones are refused, nothing is left", async () => {
    const { pool, ports } = numbered();
    const busy = use(pool);
    await turn();
    const disposal = pool[Symbol.asyncDispose]();
    expect((await rejection(use(pool).done)).code).to.equal("Unavailable");
    busy.end();
    await disposal;
    expect([pool.stats.size, ports.timers]).to.deep.equal([0, 0]);
  });

  it("does not wait for ever for an item that cannot be ended, and says so", async () => {
    const { pool, ports } = numbered({ destroy: () => new Promise(() => {}) });
    await pool.use(() => Promise.resolve(), never);
    const disposal = rejection(pool[Symbol.asyncDispose]());
    await turn();
    ports.advance(5000);
    expect((await disposal).code).to.equal("Internal");
    expect([pool.stats.size, ports.timers]).to.deep.equal([1, 0]);
  });

  it("ends the items under their users when they do not end in time", async () => {
    const { pool, ports, ended } = numbered({ maxItems: 1, drainMs: 100 });
    const busy = use(pool);
    await turn();
    const waiting = use(pool);
    const disposal = pool[Symbol.asyncDispose]();
    ports.advance(100);
    expect((await rejection(waiting.done)).code).to.equal("Unavailable");
    await disposal;
    expect(ended).to.deep.equal([1]);
    busy.end();
    await busy.done;
    expect(pool.stats.size).to.equal(0);
  });
});
