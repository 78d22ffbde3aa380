import { expect } from "chai";
import fc from "fast-check";
import type { ConcurrencyRule } from "../../../../controller/catalog.ts";
import {
  Admission,
  type AdmissionOptions,
  type Admittance,
} from "../../../../controller/execution/admission/admission.ts";
import { SortedList } from "../../../../controller/execution/admission/sorted-list.ts";
import { byTurn, type Ticket } from "../../../../controller/execution/admission/ticket.ts";
import type { ObjectKey } from "../../../../controller/runtime/object-key.ts";
import { VirtualTime } from "../../runtime/fakes.ts";

/** An Admission that notes whom it told, and how it counts. */
function admission(
  more: Partial<AdmissionOptions> & { readonly rules?: Readonly<Record<ObjectKey, ConcurrencyRule>> } = {},
) {
  const { rules = {}, ...options } = more;
  const news: ObjectKey[] = [];
  const waits: number[] = [];
  const current = new Map(Object.entries(rules) as [ObjectKey, ConcurrencyRule][]);
  const time = new VirtualTime();
  const it = new Admission({
    clock: time.ports.clock,
    running: 1_000,
    starting: 1_000,
    perNamespace: 0,
    ruleOf: (pipeline) => current.get(pipeline),
    onNews: (key) => void news.push(key),
    onCounted: () => {},
    onAdmitted: (waitedMs) => void waits.push(waitedMs),
    ...options,
  });
  return { it, news, waits, rules: current, time };
}

function ticket(key: ObjectKey, more: Partial<Ticket> = {}): Ticket {
  const namespace = key.slice(0, key.indexOf("/"));
  return { key, namespace, pipeline: `${namespace}/article`, hasBegun: false, priority: 0, createdMs: 0, ...more };
}

function kinds(answers: readonly Admittance[]): readonly string[] {
  return answers.map(({ kind }) => kind);
}

describe("places to run in", () => {
  it("are given to namespaces in turns, the oldest first within one, and never to more than the limit", () => {
    const { it: places, news } = admission({ running: 1 });
    expect(places.enter(ticket("a/1"), 0)).to.deep.equal({ kind: "Held" });
    for (const key of ["a/2", "a/3", "a/4", "b/1"] as const)
      expect(places.enter(ticket(key), 5)).to.deep.equal({ kind: "Waiting", sinceMs: 5 });
    expect(places.load).to.deep.equal({ running: 1, waiting: 4 });
    expect(places.queued).to.deep.equal({ Pipeline: 0, Namespace: 0, Process: 4 });
    for (let last: ObjectKey = "a/1"; places.load.running > 0; last = news.at(-1) as ObjectKey) places.leave(last);
    expect(news).to.deep.equal(["a/2", "b/1", "a/3", "a/4"]);
  });

  it("let the next one start as soon as one is known to run for longer", () => {
    const { it: places, news } = admission({ starting: 1 });
    places.enter(ticket("a/1"), 0);
    places.enter(ticket("a/2"), 0);
    expect(news).to.deep.equal([]);
    places.settled("a/1");
    expect(news).to.deep.equal(["a/2"]);
  });

  it("go by priority within a namespace, and to a run that has begun before all others", () => {
    const { it: places, news } = admission({ running: 1 });
    places.enter(ticket("a/first"), 0);
    places.enter(ticket("a/low", { priority: -1, createdMs: 1 }), 0);
    places.enter(ticket("a/old", { createdMs: 2 }), 0);
    places.enter(ticket("a/new", { createdMs: 3 }), 0);
    places.enter(ticket("a/high", { priority: 7, createdMs: 4 }), 0);
    places.enter(ticket("a/begun", { priority: -5, createdMs: 5, hasBegun: true }), 0);
    for (let last: ObjectKey = "a/first"; places.load.running > 0; last = news.at(-1) as ObjectKey) places.leave(last);
    expect(news).to.deep.equal(["a/begun", "a/high", "a/old", "a/new", "a/low"]);
  });

  it("stay free for others while a Pipeline is at its limit", () => {
    const rules = { "a/article": { limit: 1, policy: "Queue" } } as const;
    const { it: places, news } = admission({ running: 3, rules });
    places.enter(ticket("a/1"), 0);
    expect(places.enter(ticket("a/2"), 0)).to.deep.include({ full: { of: "Pipeline", limit: 1, before: 0 } });
    expect(places.enter(ticket("a/3"), 0)).to.deep.include({ full: { of: "Pipeline", limit: 1, before: 1 } });
    expect(places.enter(ticket("a/other", { pipeline: "a/other" }), 0).kind).to.equal("Held");
    expect(places.countsOf("a/article")).to.deep.equal({ queued: 2, running: 1 });
    expect(places.holderOf("a/article")).to.equal("a/1");
    places.leave("a/1");
    expect(news).to.deep.equal(["a/2"]);
  });

  it("stay free for others while a namespace is at its limit", () => {
    const { it: places, news } = admission({ running: 3, perNamespace: 1 });
    places.enter(ticket("a/1"), 0);
    const answer = places.enter(ticket("a/2", { pipeline: "a/other" }), 0);
    expect(answer).to.deep.include({ full: { of: "Namespace", limit: 1, before: 0 } });
    expect(places.enter(ticket("a/3"), 0)).to.deep.include({ full: { of: "Namespace", limit: 1, before: 1 } });
    expect(places.enter(ticket("b/1"), 0).kind).to.equal("Held");
    expect(places.queued).to.deep.equal({ Pipeline: 0, Namespace: 2, Process: 0 });
    places.leave("a/1");
    expect(news).to.deep.equal(["a/2"]);
  });

  it("are counted for what is recorded as running, which needs none but this process's", () => {
    const rules = { "a/article": { limit: 1, policy: "Queue" } } as const;
    const { it: places, news } = admission({ rules });
    places.expect(ticket("a/recorded", { hasBegun: true }));
    expect(places.enter(ticket("a/new"), 0).kind).to.equal("Waiting");
    expect(places.enter(ticket("a/recorded", { hasBegun: true }), 0).kind).to.equal("Held");
    places.release("a/recorded");
    expect(news, "it is still recorded as running").to.deep.equal([]);
    places.leave("a/recorded");
    expect(news).to.deep.equal(["a/new"]);
  });

  it("are kept for what is recorded as running until it has been looked at", () => {
    const { it: places, news } = admission({ running: 2 });
    places.expect(ticket("a/recorded", { hasBegun: true }));
    const answers = ["b/1", "b/2"].map((key) => places.enter(ticket(key as ObjectKey), 0));
    expect(kinds(answers)).to.deep.equal(["Held", "Waiting"]);
    // It waits for a Processor, for example.
    places.met("a/recorded");
    expect(news).to.deep.equal(["b/2"]);
  });

  it("are given by a limit that was raised, and not taken away by one that was lowered", () => {
    const { it: places, news, rules } = admission({ rules: { "a/article": { limit: 1, policy: "Queue" } } });
    for (const key of ["a/1", "a/2", "a/3"] as const) places.enter(ticket(key), 0);
    rules.set("a/article", { limit: 2, policy: "Queue" });
    places.ruleChanged();
    expect(news).to.deep.equal(["a/2"]);
    rules.set("a/article", { limit: 1, policy: "Queue" });
    places.ruleChanged();
    places.leave("a/1");
    expect(news).to.deep.equal(["a/2"]);
    places.leave("a/2");
    expect(news).to.deep.equal(["a/2", "a/3"]);
  });

  it("are news to those of a Pipeline that forbids a second one, when the first takes the place", () => {
    const rules = { "a/article": { limit: 1, policy: "Forbid" } } as const;
    const { it: places, news } = admission({ running: 1, rules });
    for (const key of ["b/1", "a/1", "a/2"] as const) places.enter(ticket(key), 0);
    places.leave("b/1");
    expect(news).to.have.members(["a/1", "a/2"]);
    expect(places.enter(ticket("a/2"), 0)).to.deep.include({ full: { of: "Pipeline", limit: 1, before: 0 } });
  });

  it("tell how long was waited for them", async () => {
    const { it: places, waits, time } = admission({ running: 1 });
    places.enter(ticket("a/1"), 0);
    places.enter(ticket("a/2"), 0);
    await time.advance(700);
    places.leave("a/1");
    expect(waits).to.deep.equal([0, 700]);
  });

  it("are lost by a waiting one that goes, and by nobody else", () => {
    const { it: places, news } = admission({ running: 1 });
    for (const key of ["a/1", "a/2", "a/3"] as const) places.enter(ticket(key), 0);
    places.leave("a/2");
    places.leave("a/2");
    places.leave("a/1");
    expect(news).to.deep.equal(["a/3"]);
    expect(places.load).to.deep.equal({ running: 1, waiting: 0 });
  });
});

describe("places to run in, whatever comes and goes", () => {
  const namespaces = ["a", "b", "c"] as const;
  const arrivals = fc.array(
    fc.record({
      namespace: fc.constantFrom(...namespaces),
      pipeline: fc.constantFrom("p", "q", undefined),
      priority: fc.integer({ min: -1, max: 1 }),
      createdMs: fc.nat(3),
      hasBegun: fc.boolean(),
      /** How many of those that run have ended before it comes. */
      ends: fc.nat(2),
    }),
    { minLength: 1, maxLength: 60 },
  );
  const limits = fc.record({
    running: fc.integer({ min: 1, max: 5 }),
    perNamespace: fc.nat(3),
    p: fc.integer({ min: 1, max: 3 }),
    q: fc.integer({ min: 1, max: 3 }),
  });

  it("never go beyond a limit, leave nobody waiting who could run, keep the order, and let everybody run in the end", () => {
    fc.assert(
      fc.property(limits, arrivals, ({ running, perNamespace, p, q }, comers) => {
        const rules = new Map<ObjectKey, number>(
          namespaces.flatMap((namespace) => [[`${namespace}/p`, p] as const, [`${namespace}/q`, q] as const]),
        );
        const held: Ticket[] = [];
        const waiting = new Map<ObjectKey, Ticket>();
        const order: ObjectKey[] = [];
        const mayRun = ({ namespace, pipeline }: Ticket): boolean => {
          const ofPipeline = held.filter((other) => pipeline !== undefined && other.pipeline === pipeline).length;
          const ofNamespace = held.filter((other) => other.namespace === namespace).length;
          const most = pipeline === undefined ? Number.POSITIVE_INFINITY : (rules.get(pipeline) ?? 0);
          return held.length < running && ofPipeline < most && (perNamespace === 0 || ofNamespace < perNamespace);
        };
        const take = (one: Ticket) => {
          expect(mayRun(one), `${one.key} is within the limits`).to.equal(true);
          const better = [...waiting.values()].filter(
            (other) => other.namespace === one.namespace && byTurn(other, one) < 0 && mayRun(other),
          );
          expect(better, `nobody who may was before ${one.key}`).to.deep.equal([]);
          waiting.delete(one.key);
          held.push(one);
          order.push(one.key);
        };
        const { it: places } = admission({
          running,
          perNamespace,
          ruleOf: (pipeline) => ({ limit: rules.get(pipeline) ?? 0, policy: "Queue" }),
          onNews: (key) => take(waiting.get(key) as Ticket),
        });
        const end = () => {
          const [first] = held.splice(0, 1);
          if (first !== undefined) places.leave(first.key);
        };
        for (const [index, { ends, pipeline, ...comer }] of comers.entries()) {
          for (let count = 0; count < ends; count++) end();
          const { namespace } = comer;
          const key: ObjectKey = `${namespace}/${index}`;
          const one = { ...comer, key, ...(pipeline && { pipeline: `${namespace}/${pipeline}` as const }) };
          waiting.set(key, one);
          if (places.enter(one, 0).kind === "Held") take(one);
          expect([...waiting.values()].filter(mayRun), "nobody waits who could run").to.deep.equal([]);
        }
        for (let rounds = 0; held.length > 0; rounds++) {
          expect(rounds).to.be.at.most(comers.length);
          end();
        }
        expect(new Set(order).size).to.equal(comers.length);
        expect(places.load).to.deep.equal({ running: 0, waiting: 0 });
      }),
      { numRuns: 300 },
    );
  });

  it("are had by each namespace in its turn, however many wait in another", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 4 }), (many, namespaceCount) => {
        const order: ObjectKey[] = [];
        const { it: places } = admission({ running: 1, onNews: (key) => void order.push(key) });
        places.enter(ticket("busy/0"), 0);
        for (let index = 1; index <= many; index++) places.enter(ticket(`busy/${index}`), 0);
        for (let index = 0; index < namespaceCount; index++) places.enter(ticket(`quiet-${index}/1`), 0);
        for (let last: ObjectKey = "busy/0"; places.load.running > 0; last = order.at(-1) as ObjectKey)
          places.leave(last);
        const quiet = order.map((key, turn) => [key, turn] as const).filter(([key]) => key.startsWith("quiet"));
        for (const [key, turn] of quiet) expect(turn, key).to.be.at.most(namespaceCount);
      }),
      { numRuns: 60 },
    );
  });
});

describe("a sorted list", () => {
  it("is what sorting would give, whatever is added and removed, and tells ranks", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(30)), { maxLength: 80 }), (edits) => {
        const list = new SortedList<number>((a, b) => a - b);
        const model = new Set<number>();
        for (const [adds, item] of edits) {
          if (adds) list.add(item);
          else list.delete(item);
          if (adds) model.add(item);
          else model.delete(item);
          const expected = [...model].toSorted((a, b) => a - b);
          expect([...list]).to.deep.equal(expected);
          expect(list.size).to.equal(expected.length);
          expect(list.first).to.equal(expected[0]);
          expect(list.at(-1)).to.equal(expected.at(-1));
          expect(list.rank(item)).to.equal(expected.filter((other) => other < item).length);
        }
      }),
      { numRuns: 100 },
    );
  });
});
