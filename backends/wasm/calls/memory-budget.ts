import { totalmem } from "node:os";
import type { AttemptTime } from "../../backend.ts";
import { type BudgetTicket, ByteBudget } from "../../byte-budget.ts";
import type { Owner } from "../../turns.ts";

/** The default where the machine has less. */
const minTotalBytes = 512 * 1024 * 1024;

/** Half of what this process may have. */
function defaultTotalBytes(): number {
  const constrained = process.constrainedMemory();
  const available = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return Math.max(minTotalBytes, Math.floor(available / 2));
}

/**
 * The memory that modules may take while they are called: each call counts as what its limit lets it take, so that what is granted is
 * never more than there is.
 */
export class MemoryBudget {
  readonly #budget: ByteBudget;

  /** @param totalBytes default: half of the memory of the machine, or of what the process may have of it */
  constructor(totalBytes: number = defaultTotalBytes()) {
    this.#budget = new ByteBudget(totalBytes);
  }

  /** Of all calls together, and so of one. */
  get totalBytes(): number {
    return this.#budget.totalBytes;
  }

  /**
   * Calls `work` once `bytes` are free, by turns; waiting takes nothing of the time.
   * @throws `signal`'s reason, and what `work` throws
   */
  async use<T>(
    bytes: number,
    owner: Owner,
    { signal, time }: { readonly signal: AbortSignal; readonly time?: AttemptTime | undefined },
    work: () => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted();
    time?.pause();
    const ticket = await this.#take(bytes, owner, signal);
    try {
      return await work();
    } finally {
      this.#budget.release(ticket);
    }
  }

  #take(bytes: number, owner: Owner, signal: AbortSignal): Promise<BudgetTicket> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#budget.withdraw(ticket);
        reject(signal.reason);
      };
      const ticket: BudgetTicket = {
        owner,
        bytes,
        granted() {
          signal.removeEventListener("abort", onAbort);
          resolve(ticket);
        },
      };
      signal.addEventListener("abort", onAbort);
      this.#budget.take(ticket);
    });
  }
}
