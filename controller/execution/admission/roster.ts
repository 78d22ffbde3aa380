import type { Execution } from "../../api/types.ts";
import type { ConcurrencyRule } from "../../catalog.ts";
import type { ObjectKey } from "../../runtime/object-key.ts";
import { isFinished } from "../objects.ts";
import { SortedList } from "./sorted-list.ts";
import { byAge, type Ticket, ticketOf } from "./ticket.ts";

export interface RosterOptions {
  /** How a Pipeline limits its Executions now. */
  readonly ruleOf: (pipeline: ObjectKey) => ConcurrencyRule | undefined;
  /** Called synchronously for each that a newer one takes the place of. */
  readonly onReplaced: (key: ObjectKey) => void;
}

/**
 * The unfinished Executions of each Pipeline by their age: with the policy Replace the newest run, as many as the limit
 * says, and the others end. One that is suspended, or is being cancelled or deleted, replaces nothing and is not replaced.
 */
export class Roster {
  readonly #options: RosterOptions;
  readonly #tickets = new Map<ObjectKey, Ticket & { readonly pipeline: ObjectKey }>();
  readonly #byPipeline = new Map<ObjectKey, SortedList<Ticket>>();

  constructor(options: RosterOptions) {
    this.#options = options;
  }

  /** As it is now; undefined: it is gone. */
  track(key: ObjectKey, execution: Execution | undefined): void {
    const ticket = execution !== undefined && takesPart(execution) ? ticketOf(execution) : undefined;
    const known = this.#tickets.get(key);
    if (known !== undefined && ticket?.pipeline === known.pipeline && byAge(known, ticket) === 0) return;
    if (known !== undefined) this.#remove(known);
    if (ticket?.pipeline === undefined) return;
    this.#add({ ...ticket, pipeline: ticket.pipeline });
  }

  /** The newer one in whose favour it ends; undefined: none. */
  replacing(key: ObjectKey): ObjectKey | undefined {
    const ticket = this.#tickets.get(key);
    if (ticket === undefined) return undefined;
    const places = this.#placesOf(ticket.pipeline);
    const list = this.#byPipeline.get(ticket.pipeline);
    if (places === undefined || list === undefined) return undefined;
    const rank = list.rank(ticket);
    return list.size - 1 - rank < places ? undefined : list.at(rank + places)?.key;
  }

  /** A Pipeline has another rule: those that are too many now are told. */
  ruleChanged(pipeline: ObjectKey): void {
    const places = this.#placesOf(pipeline);
    const list = this.#byPipeline.get(pipeline);
    if (places === undefined || list === undefined) return;
    for (let index = list.size - 1 - places; index >= 0; index--) this.#tell(list.at(index));
  }

  #add(ticket: Ticket & { readonly pipeline: ObjectKey }): void {
    const list = this.#byPipeline.get(ticket.pipeline) ?? new SortedList<Ticket>(byAge);
    this.#byPipeline.set(ticket.pipeline, list);
    this.#tickets.set(ticket.key, ticket);
    list.add(ticket);
    const places = this.#placesOf(ticket.pipeline);
    // Those before it were told when they became too many.
    if (places !== undefined && list.size > places) this.#tell(list.at(-1 - places));
  }

  #remove({ key, pipeline }: Ticket & { readonly pipeline: ObjectKey }): void {
    const list = this.#byPipeline.get(pipeline);
    const ticket = this.#tickets.get(key);
    if (ticket !== undefined) list?.delete(ticket);
    if (list?.size === 0) this.#byPipeline.delete(pipeline);
    this.#tickets.delete(key);
  }

  #placesOf(pipeline: ObjectKey): number | undefined {
    const rule = this.#options.ruleOf(pipeline);
    return rule?.policy === "Replace" ? rule.limit : undefined;
  }

  #tell(ticket: Ticket | undefined): void {
    if (ticket !== undefined) this.#options.onReplaced(ticket.key);
  }
}

function takesPart({ metadata, spec, status }: Execution): boolean {
  const ends = metadata.deletionTimestamp !== undefined || spec.cancel !== "None" || isFinished(status);
  return !ends && !spec.suspend;
}
