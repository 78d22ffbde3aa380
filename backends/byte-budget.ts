import { type Owned, Turns } from "./turns.ts";

/** The default of {@link ByteBudget}: for one namespace 64 calls of default limits at a time, and as much for the others. */
export const defaultBudgetBytes = 512 * 1024 * 1024;

/** Somebody who wants bytes. */
export interface BudgetTicket extends Owned {
  readonly bytes: number;
  /** Called once, when the bytes have been set aside for it. */
  granted(): void;
}

/** How often in a row one that only lacks free bytes is passed over before the others hold back for it. */
const maxPasses = 100;

/**
 * Bytes that all calls of a process share, so that memory is bounded whatever runs. Served by turns ({@link Turns}), and
 * so that no namespace can take all, however slow its calls are:
 *
 * - a namespace that holds nothing is granted its next call as soon as its bytes are free;
 * - one that holds some is granted more only where it then holds no more than what is still free.
 *
 * One alone gets half, the next half of the rest, and so on: something is left for who comes. A call that is larger
 * than what is free is passed over by smaller ones 100 times; then namespaces that hold something wait for it. One
 * that is larger than the whole budget is granted when it is alone. It cannot deadlock, as a holder never asks for more.
 */
export class ByteBudget {
  readonly totalBytes: number;
  #freeBytes: number;
  /** By namespace; none is 0. */
  readonly #held = new Map<string, number>();
  readonly #waiting = new Turns<BudgetTicket>();
  /** The one that was passed over last, and how often in a row. */
  #passed: BudgetTicket | undefined;
  #passes = 0;

  /** @param totalBytes default {@link defaultBudgetBytes} */
  constructor(totalBytes: number = defaultBudgetBytes) {
    this.totalBytes = totalBytes;
    this.#freeBytes = totalBytes;
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Sets the ticket's bytes aside and calls `granted`: now, or when its turn has come. */
  take(ticket: BudgetTicket): void {
    if (this.#waiting.size === 0 && this.#fits(ticket)) {
      this.#set(ticket);
      ticket.granted();
      return;
    }
    this.#waiting.add(ticket);
    this.#grant();
  }

  /** Gives a granted ticket's bytes back, and grants those that wait for them. */
  release(ticket: BudgetTicket): void {
    const bytes = this.#charge(ticket);
    const { namespace } = ticket.owner;
    const held = this.#heldBy(ticket) - bytes;
    if (held === 0) this.#held.delete(namespace);
    else this.#held.set(namespace, held);
    this.#freeBytes += bytes;
    if (this.#waiting.size > 0) this.#grant();
  }

  /** Takes a waiting ticket out of the queue: it will not be granted. */
  withdraw(ticket: BudgetTicket): void {
    if (this.#waiting.remove(ticket)) this.#grant();
  }

  /** At least 1, so that who holds something is seen to. */
  #charge(ticket: BudgetTicket): number {
    return Math.max(1, Math.min(ticket.bytes, this.totalBytes));
  }

  #heldBy(ticket: BudgetTicket): number {
    return this.#held.get(ticket.owner.namespace) ?? 0;
  }

  #fits(ticket: BudgetTicket): boolean {
    const bytes = this.#charge(ticket);
    const held = this.#heldBy(ticket);
    const free = this.#freeBytes - bytes;
    return held === 0 ? free >= 0 : held + bytes <= free;
  }

  #set(ticket: BudgetTicket): void {
    const bytes = this.#charge(ticket);
    this.#held.set(ticket.owner.namespace, this.#heldBy(ticket) + bytes);
    this.#freeBytes -= bytes;
  }

  /** `granted` may come back here (a call that ends at once): all is in order before each. */
  #grant(): void {
    for (let ticket = this.#next(); ticket !== undefined; ticket = this.#next()) {
      this.#waiting.serve(ticket);
      this.#set(ticket);
      ticket.granted();
    }
  }

  /** The first by turns that may be granted. */
  #next(): BudgetTicket | undefined {
    let passed: BudgetTicket | undefined;
    for (const ticket of this.#waiting.heads()) {
      const isFirst = this.#heldBy(ticket) === 0;
      if (!this.#fits(ticket)) {
        if (isFirst) passed ??= ticket;
      } else if (passed === undefined) {
        return ticket;
      } else if (isFirst || !this.#isDue(passed)) {
        this.#pass(passed);
        return ticket;
      }
    }
    return undefined;
  }

  #isDue(passed: BudgetTicket): boolean {
    return passed === this.#passed && this.#passes >= maxPasses;
  }

  #pass(passed: BudgetTicket): void {
    this.#passes = passed === this.#passed ? this.#passes + 1 : 1;
    this.#passed = passed;
  }
}
