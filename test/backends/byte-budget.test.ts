import { expect } from "chai";
import fc from "fast-check";
import { type BudgetTicket, ByteBudget } from "../../backends/byte-budget.ts";

class Ticket implements BudgetTicket {
  readonly owner: BudgetTicket["owner"];
  readonly bytes: number;
  readonly #log: Ticket[];

  constructor(log: Ticket[], bytes: number, namespace = "a", processor = "p") {
    this.owner = { namespace, processor };
    this.bytes = bytes;
    this.#log = log;
  }

  granted(): void {
    this.#log.push(this);
  }
}

describe("the byte budget", () => {
  let log: Ticket[];
  let budget: ByteBudget;
  beforeEach(() => {
    log = [];
    budget = new ByteBudget(100);
  });

  function take(bytes: number, namespace?: string, processor?: string): Ticket {
    const ticket = new Ticket(log, bytes, namespace, processor);
    budget.take(ticket);
    return ticket;
  }

  it("grants in the order of asking: a small call of a Processor does not overtake its large one", () => {
    const [held, large, small] = [take(60), take(80), take(1)];
    expect(log).to.deep.equal([held]);
    budget.release(held);
    expect(log).to.deep.equal([held, large]);
    budget.release(large);
    expect(log).to.deep.equal([held, large, small]);
  });

  it("grants one that is larger than all of it when it is alone", () => {
    const [small, huge] = [take(1), take(1000)];
    expect(log).to.deep.equal([small]);
    budget.release(small);
    expect([log.at(-1), budget.freeBytes]).to.deep.equal([huge, 0]);
    budget.release(huge);
    expect(budget.freeBytes).to.equal(100);
  });

  it("lets those behind go on when the one at the head leaves", () => {
    const [held, large, small] = [take(10), take(90), take(1)];
    budget.withdraw(large);
    expect(log).to.deep.equal([held, small]);
  });

  it("leaves half to the others, however many calls of one namespace come and never end", () => {
    for (let call = 0; call < 100; call += 1) take(1, "greedy", `p${call % 2}`);
    expect(log).to.have.length(50);
    const other = take(50, "other");
    expect(log.at(-1)).to.equal(other);
  });

  it("gives namespaces their turns, and the Processors of one", () => {
    const held = take(100, "holder");
    for (let call = 0; call < 3; call += 1) take(10, "a", "p");
    take(10, "a", "q");
    take(10, "b", "p");
    budget.release(held);
    const order = log.slice(1).map(({ owner }) => `${owner.namespace}${owner.processor}`);
    expect(order).to.deep.equal(["ap", "bp", "aq", "ap", "ap"]);
  });

  it("holds small calls back for a large one that was passed over a hundred times", () => {
    const held = [take(30, "a"), take(30, "b")];
    const large = take(60, "c");
    const busy = take(1, "d");
    let passes = 0;
    for (; passes < 500; passes += 1) {
      const small = take(1, "d");
      if (log.at(-1) !== small) break;
      budget.release(small);
    }
    expect(passes).to.equal(99);
    budget.release(busy);
    for (const ticket of held) budget.release(ticket);
    expect(log).to.include(large);
  });

  const asked = fc.record({
    bytes: fc.nat(130),
    namespace: fc.constantFrom("a", "b", "c"),
    processor: fc.constantFrom("p", "q"),
    ends: fc.nat(3),
    withdraws: fc.boolean(),
  });

  it("never hands out more than it has, leaves as much as a namespace holds, starves nobody and loses nothing, whatever comes", () => {
    fc.assert(
      fc.property(fc.array(asked, { maxLength: 80 }), (steps) => {
        log = [];
        budget = new ByteBudget(100);
        const model = new Model(budget, log);
        for (const { bytes, namespace, processor, ends, withdraws } of steps) {
          model.take(new Ticket(log, bytes, namespace, processor));
          if (withdraws) model.withdrawLast();
          for (let ended = 0; ended < ends; ended += 1) model.end();
        }
        while (model.running.length > 0) model.end();
        expect([model.waiting.length, budget.waiting, budget.freeBytes]).to.deep.equal([0, 0, 100]);
      }),
    );
  });

  it("grants a second namespace a call of up to half of it at once, whatever one other did", () => {
    const calls = fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 50 }), ends: fc.boolean() }));
    fc.assert(
      fc.property(calls, fc.integer({ min: 1, max: 50 }), (steps, bytes) => {
        log = [];
        budget = new ByteBudget(100);
        const model = new Model(budget, log);
        for (const [index, step] of steps.entries()) {
          model.take(new Ticket(log, step.bytes, "greedy", `p${index % 3}`));
          if (step.ends) model.end();
        }
        const other = new Ticket(log, bytes, "other");
        model.take(other);
        expect(model.running.at(-1)).to.equal(other);
      }),
    );
  });
});

/** Keeps account of a budget by what it says, and checks what must always hold. */
class Model {
  readonly running: Ticket[] = [];
  readonly waiting: Ticket[] = [];
  readonly #budget: ByteBudget;
  readonly #log: Ticket[];

  constructor(budget: ByteBudget, log: Ticket[]) {
    this.#budget = budget;
    this.#log = log;
  }

  take(ticket: Ticket): void {
    this.waiting.push(ticket);
    this.#budget.take(ticket);
    this.#settle();
  }

  withdrawLast(): void {
    const last = this.waiting.pop();
    if (last === undefined) return;
    this.#budget.withdraw(last);
    this.#settle();
  }

  end(): void {
    const first = this.running.shift();
    if (first === undefined) return;
    this.#budget.release(first);
    this.#settle();
  }

  #settle(): void {
    for (const ticket of this.#log.splice(0)) {
      const { namespace } = ticket.owner;
      expect(this.#first(ticket.owner)).to.equal(ticket);
      this.waiting.splice(this.waiting.indexOf(ticket), 1);
      const before = this.#held(namespace);
      this.running.push(ticket);
      if (before > 0) expect(this.#held(namespace)).to.be.at.most(100 - this.#held());
    }
    expect(this.#budget.freeBytes).to.equal(100 - this.#held());
    expect(this.#budget.freeBytes).to.be.at.least(0);
    for (const ticket of this.waiting) {
      const { namespace } = ticket.owner;
      if (this.#first(ticket.owner) !== ticket || this.#held(namespace) > 0) continue;
      expect(Math.max(1, Math.min(100, ticket.bytes))).to.be.greaterThan(this.#budget.freeBytes);
    }
  }

  #first({ namespace, processor }: Ticket["owner"]): Ticket | undefined {
    return this.waiting.find(({ owner }) => owner.namespace === namespace && owner.processor === processor);
  }

  #held(namespace?: string): number {
    return this.running
      .filter(({ owner }) => namespace === undefined || owner.namespace === namespace)
      .reduce((sum, { bytes }) => sum + Math.max(1, Math.min(bytes, 100)), 0);
  }
}
