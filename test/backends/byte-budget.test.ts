import { expect } from "chai";
import fc from "fast-check";
import { type BudgetTicket, ByteBudget } from "../../backends/byte-budget.ts";

class Ticket implements BudgetTicket {
  readonly bytes: number;
  readonly index: number;
  readonly #log: number[];

  constructor(index: number, bytes: number, log: number[]) {
    this.index = index;
    this.bytes = bytes;
    this.#log = log;
  }

  granted(): void {
    this.#log.push(this.index);
  }
}

describe("the byte budget", () => {
  it("grants in the order of asking: a small request does not overtake a large one", () => {
    const budget = new ByteBudget(10);
    const log: number[] = [];
    const [held, large, small] = [new Ticket(0, 6, log), new Ticket(1, 8, log), new Ticket(2, 1, log)];
    expect([budget.take(held), budget.take(large), budget.take(small)]).to.deep.equal([true, false, false]);
    budget.release(held);
    expect(log).to.deep.equal([1, 2]);
  });

  it("grants one that is larger than all of it when it is alone", () => {
    const budget = new ByteBudget(10);
    const log: number[] = [];
    const [small, huge] = [new Ticket(0, 1, log), new Ticket(1, 100, log)];
    budget.take(small);
    expect(budget.take(huge)).to.equal(false);
    budget.release(small);
    expect([log, budget.freeBytes]).to.deep.equal([[1], 0]);
    budget.release(huge);
    expect(budget.freeBytes).to.equal(10);
  });

  it("lets those behind go on when the one at the head leaves", () => {
    const budget = new ByteBudget(10);
    const log: number[] = [];
    const [held, large, small] = [new Ticket(0, 6, log), new Ticket(1, 8, log), new Ticket(2, 1, log)];
    for (const ticket of [held, large, small]) budget.take(ticket);
    budget.withdraw(large);
    expect(log).to.deep.equal([2]);
  });

  it("never hands out more than it has, starves nobody and loses nothing, whatever comes", () => {
    const steps = fc.array(fc.record({ bytes: fc.nat(30), ends: fc.nat(3), withdraws: fc.boolean() }), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(steps, (asked) => {
        const budget = new ByteBudget(20);
        const log: number[] = [];
        const running: Ticket[] = [];
        const waiting: Ticket[] = [];
        const settle = () => {
          for (const index of log.splice(0)) {
            expect(waiting[0]?.index).to.equal(index);
            running.push(waiting.shift() as Ticket);
          }
          const used = running.reduce((sum, ticket) => sum + Math.min(ticket.bytes, 20), 0);
          expect(budget.freeBytes).to.equal(20 - used);
          expect(budget.freeBytes).to.be.at.least(0);
        };
        for (const [index, { bytes, ends, withdraws }] of asked.entries()) {
          const ticket = new Ticket(index, bytes, log);
          (budget.take(ticket) ? running : waiting).push(ticket);
          settle();
          if (withdraws) {
            const last = waiting.pop();
            if (last !== undefined) budget.withdraw(last);
            settle();
          }
          for (let ended = 0; ended < ends && running.length > 0; ended += 1) {
            budget.release(running.shift() as Ticket);
            settle();
          }
        }
        while (running.length > 0) {
          budget.release(running.shift() as Ticket);
          settle();
        }
        expect([waiting.length, budget.freeBytes]).to.deep.equal([0, 20]);
      }),
    );
  });
});
