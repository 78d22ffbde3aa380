import { expect } from "chai";
import { Flights } from "../../backends/flights.ts";

const never = new AbortController().signal;

/** Work that ends when the test says so, or once it is told to give up; `ended` as soon as it may. */
function held() {
  const gate = Promise.withResolvers<string>();
  const signals: AbortSignal[] = [];
  const work = (signal: AbortSignal) => {
    signals.push(signal);
    return gate.promise;
  };
  return { ...gate, work, signals };
}

const reasonOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "none",
    (error: unknown) => (error as Error).message,
  );

describe("work that several wait for", () => {
  it("is done once for all who ask meanwhile, and anew for who asks later", async () => {
    const flights = new Flights<string>();
    const { work, signals, resolve } = held();
    const both = [flights.join("a", work, never), flights.join("a", work, never)];
    resolve("done");
    expect(await Promise.all(both)).to.deep.equal(["done", "done"]);
    expect(await flights.join("a", work, never)).to.equal("done");
    expect(signals).to.have.length(2);
  });

  it("goes on when one of those who wait leaves, and is given up when the last one does", async () => {
    const flights = new Flights<string>();
    const { work, signals } = held();
    const [one, other] = [new AbortController(), new AbortController()];
    const both = [flights.join("a", work, one.signal), flights.join("a", work, other.signal)];
    const left = reasonOf(both[0] as Promise<string>);
    one.abort(new Error("one left"));
    expect(await left).to.equal("one left");
    expect(signals[0]?.aborted).to.equal(false);
    const last = reasonOf(both[1] as Promise<string>);
    other.abort(new Error("other left"));
    expect(await last).to.equal("other left");
    expect(signals[0]?.reason).to.have.property("message", "other left");
    expect(flights.isBusy).to.equal(false);
  });

  it("is given up at the end, and waited for, also where nobody waits for it any more", async () => {
    const flights = new Flights<string>();
    const { work, reject, signals } = held();
    const leaver = new AbortController();
    const left = reasonOf(flights.join("a", work, leaver.signal));
    leaver.abort(new Error("left"));
    await left;
    const waiting = reasonOf(flights.join("b", work, never));
    let ended = false;
    const closed = flights.abort(new Error("closed")).then(() => {
      ended = true;
    });
    expect(signals.map((signal) => signal.aborted)).to.deep.equal([true, true]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(ended).to.equal(false);
    reject(new Error("gave up"));
    await closed;
    expect(await waiting).to.equal("gave up");
  });
});
