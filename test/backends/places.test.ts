import { expect } from "chai";
import fc from "fast-check";
import { Places } from "../../backends/places.ts";
import { MillraceError } from "../../engine/errors.ts";
import { ManualPorts, never, rejection, turn } from "./support.ts";

/** Places, and who holds them, in the order of getting them. */
class Stage {
  readonly ports = new ManualPorts();
  readonly places: Places;
  readonly holders: string[] = [];

  constructor(capacity: number, maxWaiters = 1000) {
    this.places = new Places({ name: "places", capacity, maxWaiters, clock: this.ports.clock });
  }

  /** @param who `<namespace>/<processor>` */
  enter(who: string, signal: AbortSignal = never): Promise<void> {
    return this.places.enter(ownerOf(who), signal).then(() => void this.holders.push(who));
  }

  async leave(who: string): Promise<void> {
    this.holders.splice(this.holders.indexOf(who), 1);
    this.places.leave(ownerOf(who));
    await turn();
  }
}

function ownerOf(who: string) {
  const [namespace = "", processor = ""] = who.split("/");
  return { namespace, processor };
}

describe("the places of a pool", () => {
  it("leave one to another namespace, whatever the Processors of one ask for and however long they stay", async () => {
    const stage = new Stage(4);
    for (let call = 0; call < 8; call += 1) for (const who of ["a/p", "a/q", "a/r"]) void stage.enter(who);
    await turn();
    expect(stage.holders).to.deep.equal(["a/p", "a/q", "a/r"]);
    await stage.enter("b/p");
    expect(stage.holders.at(-1)).to.equal("b/p");
  });

  it("are given by turns when a turn is over: to each namespace, in it to each Processor", async () => {
    const stage = new Stage(1);
    await stage.enter("a/p");
    for (const who of ["a/p", "a/p", "a/q", "b/p"]) void stage.enter(who);
    const order: string[] = [];
    for (let ended = 0; ended < 4; ended += 1) {
      stage.ports.advance(1000);
      await stage.leave(stage.holders[0] ?? "");
      order.push(stage.holders[0] ?? "");
    }
    expect(order).to.deep.equal(["a/p", "b/p", "a/q", "a/p"]);
  });

  it("stay with a Processor for a tenth of a second, as another's thread takes as long to start", async () => {
    const stage = new Stage(1);
    await stage.enter("a/p");
    for (const who of ["b/p", "a/p", "a/p"]) void stage.enter(who);
    stage.ports.advance(99);
    await stage.leave("a/p");
    expect(stage.holders).to.deep.equal(["a/p"]);
    stage.ports.advance(1);
    await stage.leave("a/p");
    expect(stage.holders).to.deep.equal(["b/p"]);
  });

  it("refuse who comes when too many wait, who gives up, and everybody when they are closed", async () => {
    const stage = new Stage(1, 2);
    await stage.enter("a/p");
    const cancel = new AbortController();
    const [first, second] = [rejection(stage.enter("a/p", cancel.signal)), rejection(stage.enter("a/p"))];
    expect((await rejection(stage.enter("a/p"))).code).to.equal("ResourceExhausted");
    expect([stage.places.waiting, stage.places.rejected]).to.deep.equal([2, 1]);
    cancel.abort(new MillraceError("Cancelled", "no longer wanted"));
    expect((await first).code).to.equal("Cancelled");
    stage.places.close();
    expect([(await second).code, (await rejection(stage.enter("b/p"))).code]).to.deep.equal([
      "Unavailable",
      "Unavailable",
    ]);
  });

  const step = fc.record({ who: fc.constantFrom("a/p", "a/q", "b/p", "b/q", "c/p"), ends: fc.nat(2), ms: fc.nat(150) });

  it("are never more than there are, leave one to who has none, and come to everybody, whatever comes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 6 }), fc.array(step, { maxLength: 40 }), async (capacity, steps) => {
        const stage = new Stage(capacity);
        let got = 0;
        for (const { who, ends, ms } of steps) {
          void stage.enter(who).then(() => {
            got += 1;
          });
          stage.ports.advance(ms);
          await turn();
          for (let ended = 0; ended < ends && stage.holders.length > 0; ended += 1) {
            await stage.leave(stage.holders[0] ?? "");
          }
          expect(stage.holders.length).to.be.at.most(capacity);
          const namespaces = new Set(stage.holders.map((holder) => ownerOf(holder).namespace));
          if (capacity > 1 && namespaces.size === 1) expect(stage.holders.length).to.be.below(capacity);
          for (const holder of stage.holders) {
            const same = stage.holders.filter((other) => other === holder).length;
            expect(same).to.be.at.most(stage.places.maxPerProcessor);
          }
        }
        while (stage.holders.length > 0) await stage.leave(stage.holders[0] ?? "");
        expect([got, stage.places.waiting]).to.deep.equal([steps.length, 0]);
      }),
    );
  });
});
