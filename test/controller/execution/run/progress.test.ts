import { expect } from "chai";
import { ProgressPacer, type Report } from "../../../../controller/execution/run/progress.ts";
import { MillraceError } from "../../../../engine/errors.ts";
import { VirtualTime } from "../../runtime/fakes.ts";

describe("the pacer of progress writes", () => {
  it("waits twenty times as long as its last write took, and never writes twice at once", async () => {
    const time = new VirtualTime();
    const started: number[] = [];
    let writing = 0;
    const pacer = new ProgressPacer(time.ports, async () => {
      expect(++writing).to.equal(1);
      started.push(time.ports.clock.monotonic());
      await new Promise<void>((resolve) => time.ports.scheduler.after(100, resolve));
      writing--;
      return { durationMs: 100 };
    });
    for (let tick = 0; tick < 500; tick++) {
      pacer.changed();
      await time.advance(10);
    }
    await pacer.stop();
    const gaps = started.slice(1).map((at, index) => at - (started[index] ?? 0));
    expect(started[0]).to.equal(1_000_250);
    expect(
      gaps.every((gap) => gap >= 2_000 && gap <= 2_100),
      String(gaps),
    ).to.equal(true);
  });
});

describe("the pacer of progress writes after an outage", () => {
  it("does not take the tries and waits before the write for its duration", async () => {
    const time = new VirtualTime();
    const started: number[] = [];
    const pacer = new ProgressPacer(time.ports, async () => {
      started.push(time.ports.clock.monotonic());
      // The API server was away for 20 s; the request that got through took 5 ms.
      const waitMs = started.length === 1 ? 20_000 : 5;
      await new Promise<void>((resolve) => time.ports.scheduler.after(waitMs, resolve));
      return { durationMs: 5 };
    });
    await time.advance(250);
    pacer.changed();
    await time.advance(20_000);
    expect(time.delays).to.deep.equal([245]);
    await time.advance(1_000);
    await pacer.stop();
    expect(started).to.have.length(2);
  });
});

describe("the pacer of progress writes, asked to write now", () => {
  /** Writes that the test lets end, one by one. */
  function paced() {
    const time = new VirtualTime();
    const writes: PromiseWithResolvers<Report>[] = [];
    const pacer = new ProgressPacer(time.ports, () => {
      const write = Promise.withResolvers<Report>();
      writes.push(write);
      return write.promise;
    });
    return { time, writes, pacer };
  }

  it("writes once for all that ask in one turn, without waiting", async () => {
    const { time, writes, pacer } = paced();
    const asked = [pacer.now(), pacer.now(), pacer.now()];
    await Promise.resolve();
    expect(writes).to.have.length(1);
    writes[0]?.resolve({ durationMs: 1 });
    await Promise.all(asked);
    expect(time.delays).to.deep.equal([]);
    await pacer.stop();
  });

  it("has who asks during a write wait for the next one, which begins at once", async () => {
    const { time, writes, pacer } = paced();
    const first = pacer.now();
    await Promise.resolve();
    let isSecondDone = false;
    const second = pacer.now().then(() => {
      isSecondDone = true;
    });
    writes[0]?.resolve({ durationMs: 1_000 });
    await first;
    await time.advance(0);
    expect(isSecondDone).to.equal(false);
    expect(writes).to.have.length(2);
    writes[1]?.resolve({ durationMs: 1 });
    await second;
    await pacer.stop();
  });

  it("tells who asked that it is not recorded", async () => {
    const { writes, pacer } = paced();
    const asked = pacer.now().catch((error: unknown) => (error as MillraceError).message);
    await Promise.resolve();
    writes[0]?.resolve({ durationMs: 0, error: new MillraceError("Unavailable", "the disk is full") });
    expect(await asked).to.equal("the disk is full");
    await pacer.stop();
    expect(await pacer.now().catch((error: unknown) => (error as MillraceError).code)).to.equal("Cancelled");
  });
});
