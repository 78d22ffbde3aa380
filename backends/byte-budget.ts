/** The default of {@link ByteBudget}: enough for two Processors of default limits at their full concurrency. */
export const defaultBudgetBytes = 512 * 1024 * 1024;

/** Somebody who waits for bytes. */
export interface BudgetTicket {
  readonly bytes: number;
  /** Called once, when the bytes have been set aside for it. */
  granted(): void;
}

/**
 * Bytes that all calls of a process share, so that memory is bounded whatever runs. First come, first served: a large
 * request waits at the head and nobody overtakes it, so that nobody starves. One that is larger than the whole budget
 * is granted when it is alone. It cannot deadlock as long as a holder never asks for more before it releases.
 */
export class ByteBudget {
  readonly totalBytes: number;
  #freeBytes: number;
  /** In the order of their coming. */
  readonly #waiting = new Set<BudgetTicket>();

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

  /** Sets the ticket's bytes aside at once and says true; or else says false, queues the ticket, and calls `granted` later. */
  take(ticket: BudgetTicket): boolean {
    if (this.#waiting.size === 0 && this.#set(ticket)) return true;
    this.#waiting.add(ticket);
    return false;
  }

  /** Gives a granted ticket's bytes back, and grants those that wait for them. */
  release(ticket: BudgetTicket): void {
    this.#freeBytes += this.#charge(ticket);
    this.#grant();
  }

  /** Takes a waiting ticket out of the queue: it will not be granted. */
  withdraw(ticket: BudgetTicket): void {
    if (this.#waiting.delete(ticket)) this.#grant();
  }

  #charge(ticket: BudgetTicket): number {
    return Math.min(ticket.bytes, this.totalBytes);
  }

  #set(ticket: BudgetTicket): boolean {
    const bytes = this.#charge(ticket);
    if (bytes > this.#freeBytes) return false;
    this.#freeBytes -= bytes;
    return true;
  }

  /** `granted` may come back here (a call that ends at once): the queue is in order before each. */
  #grant(): void {
    for (;;) {
      const [ticket] = this.#waiting;
      if (ticket === undefined || !this.#set(ticket)) return;
      this.#waiting.delete(ticket);
      ticket.granted();
    }
  }
}
