import type { Clock } from "../../../engine/clock.ts";
import type { ConcurrencyRule } from "../../catalog.ts";
import type { ObjectKey } from "../../runtime/object-key.ts";
import { SortedList } from "./sorted-list.ts";
import { byTurn, isSameTicket, type Ticket } from "./ticket.ts";

export interface AdmissionOptions {
  readonly clock: Clock;
  /** Executions that run at the same time in this process. */
  readonly running: number;
  /** Of them, those whose first status write is not done yet: short ones are bounded by what the API server takes, and more of them at once only make each of them longer. */
  readonly starting: number;
  /** Executions of one namespace that run at the same time; 0: any number. */
  readonly perNamespace: number;
  /** How a Pipeline limits its Executions now. */
  readonly ruleOf: (pipeline: ObjectKey) => ConcurrencyRule | undefined;
  /** Called synchronously when a key that waited gets its place, or would get another answer now. */
  readonly onNews: (key: ObjectKey) => void;
  /** Called synchronously when other numbers of a Pipeline's Executions wait or run. */
  readonly onCounted: (pipeline: ObjectKey) => void;
  /** Told of each that gets a place how long it waited for it, in milliseconds. */
  readonly onAdmitted: (waitedMs: number) => void;
}

/** Which limit keeps an Execution waiting, and who is before it in the queue of that limit. */
export interface FullLimit {
  readonly of: "Pipeline" | "Namespace";
  readonly limit: number;
  readonly before: number;
}

export type Admittance =
  | { readonly kind: "Held" }
  /** `full` is absent while it waits for nothing but its turn among all that this process runs. */
  | { readonly kind: "Waiting"; readonly sinceMs: number; readonly full?: FullLimit };

interface Waiting {
  readonly ticket: Ticket;
  /** Since when, by the wall clock and by the monotonic one. */
  readonly sinceMs: number;
  readonly sinceMonotonicMs: number;
}

/** What waits in a namespace. */
interface NamespaceQueue {
  /** By Pipeline; `""` for inline specs. */
  readonly groups: Map<ObjectKey | "", SortedList<Waiting>>;
  /** Those that count already, as their record says that they run: they wait for this process alone. */
  readonly counted: SortedList<Waiting>;
}

/**
 * Who may run. Three limits hold: of a Pipeline, of a namespace, of this process. Namespaces take turns, and within one
 * it goes by {@link byTurn}; an Execution whose Pipeline or namespace is at its limit holds up nobody behind it. What counts
 * against the limits of Pipelines and namespaces is what runs here and what is recorded as running.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  /** All that count against the limits of Pipelines and namespaces. */
  readonly #counted = new Map<ObjectKey, Ticket>();
  readonly #byPipeline = new Map<ObjectKey, Set<ObjectKey>>();
  readonly #byNamespace = new Map<string, number>();
  /** Of those, the ones that run in this process, and those that were told that they may. */
  readonly #held = new Set<ObjectKey>();
  /** Of those, the ones that may yet turn out to be short. */
  readonly #starting = new Set<ObjectKey>();
  /** Recorded as running and not looked at yet: places of this process are kept for them. */
  readonly #expected = new Set<ObjectKey>();
  readonly #waiting = new Map<ObjectKey, Waiting>();
  /** In the order of their turns. */
  readonly #queues = new Map<string, NamespaceQueue>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** Executions that hold a place in this process, and those that wait for one. */
  get load(): { readonly running: number; readonly waiting: number } {
    return { running: this.#held.size, waiting: this.#waiting.size };
  }

  /** How many wait, by the limit that holds them up; `Process`: none but this process's own. */
  get queued(): Readonly<Record<FullLimit["of"] | "Process", number>> {
    const queued = { Pipeline: 0, Namespace: 0, Process: 0 };
    for (const [namespace, { groups, counted }] of this.#queues) {
      queued.Process += counted.size;
      for (const [pipeline, { size }] of groups) queued[this.#fullLimit(namespace, pipeline)?.of ?? "Process"] += size;
    }
    return queued;
  }

  /** Of one Pipeline: how many wait, and how many run or are recorded as running. */
  countsOf(pipeline: ObjectKey): { readonly queued: number; readonly running: number } {
    const namespace = pipeline.slice(0, pipeline.indexOf("/"));
    const queued = this.#queues.get(namespace)?.groups.get(pipeline)?.size ?? 0;
    return { queued, running: this.#byPipeline.get(pipeline)?.size ?? 0 };
  }

  /** One that runs, of the Pipeline's; the one that has for longest. */
  holderOf(pipeline: ObjectKey): ObjectKey | undefined {
    const [holder] = this.#byPipeline.get(pipeline) ?? [];
    return holder;
  }

  /** It counts, as its record says that it runs, without having a place in this process. Idempotent. */
  record(ticket: Ticket): void {
    if (this.#counted.has(ticket.key)) return;
    this.#unqueue(ticket.key);
    this.#count(ticket);
  }

  /** As {@link record}, before anything is looked at after a start: until {@link met}, it has a place before all that is new. */
  expect(ticket: Ticket): void {
    this.record(ticket);
    this.#expected.add(ticket.key);
  }

  /** It was looked at. */
  met(key: ObjectKey): void {
    if (this.#expected.delete(key)) this.#grant();
  }

  /** Whether it has a place, now or since before; else it waits for one in the queue, since `nowMs` at the latest. */
  enter(ticket: Ticket, nowMs: number): Admittance {
    const { key } = ticket;
    if (this.#held.has(key)) return { kind: "Held" };
    const known = this.#waiting.get(key);
    if (known === undefined || !isSameTicket(known.ticket, ticket)) {
      this.#unqueue(key);
      this.#enqueue({ ticket, sinceMs: nowMs, sinceMonotonicMs: this.#options.clock.monotonic() });
    }
    this.#grant(key);
    const waiting = this.#waiting.get(key);
    return waiting === undefined ? { kind: "Held" } : this.#answer(waiting);
  }

  /** Gives its place back, or leaves the queue; what is recorded of it goes on to count. Idempotent. */
  release(key: ObjectKey): void {
    this.#unqueue(key);
    this.#starting.delete(key);
    if (this.#held.delete(key)) this.#grant();
  }

  /** As {@link release}, and it counts no more. Idempotent. */
  leave(key: ObjectKey): void {
    const didCount = this.#counted.has(key);
    this.#uncount(key);
    this.#expected.delete(key);
    this.#unqueue(key);
    this.#starting.delete(key);
    if (this.#held.delete(key) || didCount) this.#grant();
  }

  /** It runs for longer: it no longer counts as starting. Idempotent. */
  settled(key: ObjectKey): void {
    if (this.#starting.delete(key)) this.#grant();
  }

  /** A Pipeline has another rule, or none any more. */
  ruleChanged(): void {
    this.#grant();
  }

  #answer({ ticket, sinceMs }: Waiting): Admittance {
    if (this.#counted.has(ticket.key)) return { kind: "Waiting", sinceMs };
    const full = this.#fullLimit(ticket.namespace, ticket.pipeline ?? "");
    if (full === undefined) return { kind: "Waiting", sinceMs };
    const queue = this.#queues.get(ticket.namespace);
    const own = queue?.groups.get(ticket.pipeline ?? "");
    const lists = full.of === "Pipeline" ? (own === undefined ? [] : [own]) : [...(queue?.groups.values() ?? [])];
    const item = this.#waiting.get(ticket.key) as Waiting;
    const before = lists.reduce((sum, list) => sum + list.rank(item), 0);
    return { kind: "Waiting", sinceMs, full: { ...full, before } };
  }

  #fullLimit(namespace: string, pipeline: ObjectKey | ""): Omit<FullLimit, "before"> | undefined {
    if (pipeline !== "") {
      const limit = this.#options.ruleOf(pipeline)?.limit ?? Number.POSITIVE_INFINITY;
      if ((this.#byPipeline.get(pipeline)?.size ?? 0) >= limit) return { of: "Pipeline", limit };
    }
    const { perNamespace } = this.#options;
    if (perNamespace === 0 || (this.#byNamespace.get(namespace) ?? 0) < perNamespace) return undefined;
    return { of: "Namespace", limit: perNamespace };
  }

  /** What `entering` gets is its own answer; the others are told. */
  #grant(entering?: ObjectKey): void {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      const { key, namespace } = next.ticket;
      this.#unqueue(key);
      // To the end of the turns.
      const queue = this.#queues.get(namespace);
      if (queue !== undefined && this.#queues.delete(namespace)) this.#queues.set(namespace, queue);
      this.#hold(next);
      if (key !== entering) this.#options.onNews(key);
    }
  }

  /** The one whose turn it is, of those that may. */
  #next(): Waiting | undefined {
    const { running, starting } = this.#options;
    if (this.#held.size >= running || this.#starting.size >= starting) return undefined;
    const takesNew = this.#held.size + this.#expected.size < running;
    for (const [namespace, { groups, counted }] of this.#queues) {
      let best = counted.first;
      for (const [pipeline, { first }] of takesNew ? groups : []) {
        if (first === undefined || this.#fullLimit(namespace, pipeline) !== undefined) continue;
        if (best === undefined || byTurn(first.ticket, best.ticket) < 0) best = first;
      }
      if (best !== undefined) return best;
    }
    return undefined;
  }

  #hold({ ticket, sinceMonotonicMs }: Waiting): void {
    this.#held.add(ticket.key);
    this.#starting.add(ticket.key);
    this.#expected.delete(ticket.key);
    this.#options.onAdmitted(this.#options.clock.monotonic() - sinceMonotonicMs);
    if (!this.#counted.has(ticket.key)) this.#count(ticket);
  }

  #count(ticket: Ticket): void {
    const { key, namespace, pipeline } = ticket;
    this.#counted.set(key, ticket);
    this.#byNamespace.set(namespace, (this.#byNamespace.get(namespace) ?? 0) + 1);
    if (pipeline === undefined) return;
    const keys = this.#byPipeline.get(pipeline);
    if (keys === undefined) this.#byPipeline.set(pipeline, new Set([key]));
    else keys.add(key);
    this.#options.onCounted(pipeline);
    this.#refuse(namespace, pipeline);
  }

  #uncount(key: ObjectKey): void {
    const ticket = this.#counted.get(key);
    if (ticket === undefined) return;
    const { namespace, pipeline } = ticket;
    this.#counted.delete(key);
    const inNamespace = (this.#byNamespace.get(namespace) ?? 0) - 1;
    if (inNamespace > 0) this.#byNamespace.set(namespace, inNamespace);
    else this.#byNamespace.delete(namespace);
    if (pipeline === undefined) return;
    const keys = this.#byPipeline.get(pipeline);
    keys?.delete(key);
    if (keys?.size === 0) this.#byPipeline.delete(pipeline);
    this.#options.onCounted(pipeline);
  }

  /** The last place of a Pipeline that forbids more is taken: those that waited for something else are refused now. */
  #refuse(namespace: string, pipeline: ObjectKey): void {
    const waiting = this.#queues.get(namespace)?.groups.get(pipeline);
    if (waiting === undefined || this.#options.ruleOf(pipeline)?.policy !== "Forbid") return;
    if (this.#fullLimit(namespace, pipeline)?.of !== "Pipeline") return;
    for (const { ticket } of waiting) this.#options.onNews(ticket.key);
  }

  #enqueue(waiting: Waiting): void {
    const { key, namespace, pipeline } = waiting.ticket;
    this.#waiting.set(key, waiting);
    const queue = this.#queues.get(namespace) ?? { groups: new Map(), counted: newList() };
    this.#queues.set(namespace, queue);
    if (this.#counted.has(key)) {
      queue.counted.add(waiting);
      return;
    }
    const group = queue.groups.get(pipeline ?? "") ?? newList();
    queue.groups.set(pipeline ?? "", group);
    group.add(waiting);
    if (pipeline !== undefined) this.#options.onCounted(pipeline);
  }

  #unqueue(key: ObjectKey): void {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) return;
    const { namespace, pipeline } = waiting.ticket;
    this.#waiting.delete(key);
    const queue = this.#queues.get(namespace);
    const group = queue?.groups.get(pipeline ?? "");
    group?.delete(waiting);
    queue?.counted.delete(waiting);
    if (group?.size === 0) queue?.groups.delete(pipeline ?? "");
    if (queue?.groups.size === 0 && queue.counted.size === 0) this.#queues.delete(namespace);
    if (pipeline !== undefined) this.#options.onCounted(pipeline);
  }
}

function newList(): SortedList<Waiting> {
  return new SortedList((a, b) => byTurn(a.ticket, b.ticket));
}
