import { expect } from "chai";
import { Secrets } from "../../backends/secrets.ts";
import { MillraceError } from "../../engine/errors.ts";
import type { ProcessorResponse } from "../../engine/processor.ts";
import { attemptOf, callerOf, echoing, never, rejection, requestOf, scripted } from "./support.ts";

const secrets = new Secrets({ key: "k3y-0815" });
const failing = (error: unknown) => scripted(() => Promise.reject(error));

describe("A call of a processor with secrets", () => {
  it("gets those that are current when it starts, and each its own", async () => {
    let current = new Secrets({ key: "old" });
    const seen: unknown[] = [];
    const release = Promise.withResolvers<void>();
    const processor = scripted(async (request, context) => {
      seen.push(context.secrets.key);
      if (context.secrets.key === "old") await release.promise;
      seen.push(context.secrets.key);
      return echoing(request, context);
    });
    await using caller = callerOf(processor, {}, { secrets: () => current });
    const first = caller.call(attemptOf(), requestOf(), never);
    current = new Secrets({ key: "new" });
    await caller.call(attemptOf(), requestOf(), never);
    release.resolve();
    await first;
    expect(seen).to.deep.equal(["old", "new", "new", "old"]);
  });

  it("fails with what says that they cannot be had, and leaves its place", async () => {
    const gone = new MillraceError("Unavailable", "Secret team/api does not exist");
    const broken = () => {
      throw gone;
    };
    await using caller = callerOf(scripted(echoing), { maxConcurrency: 1 }, { secrets: broken });
    for (let turn = 0; turn < 2; turn += 1) {
      expect(await rejection(caller.call(attemptOf(), requestOf(), never))).to.equal(gone);
    }
    expect(caller.stats.inFlight).to.equal(0);
  });

  it("has them masked in what is thrown, and leaves the cause behind, which has them too", async () => {
    const thrown = new MillraceError("Unavailable", "no k3y-0815", { cause: new Error("k3y-0815"), retryAfterMs: 7 });
    await using caller = callerOf(failing(thrown), {}, { secrets: () => secrets });
    const error = await rejection(caller.call(attemptOf(), requestOf(), never));
    expect(error).to.include({ code: "Unavailable", message: "no ***", retryAfterMs: 7 });
    expect(error.cause).to.equal(undefined);
    expect(error.stack).not.to.include("k3y");
  });

  it("has them masked in a defect of a backend, and in a declared failure", async () => {
    await using broken = callerOf(failing(new TypeError("k3y-0815 is no function")), {}, { secrets: () => secrets });
    expect((await rejection(broken.call(attemptOf(), requestOf(), never))).message).to.equal("*** is no function");
    const declared: ProcessorResponse = {
      ok: false,
      metadata: {},
      error: { code: "No", message: "k3y-0815 is refused", retryable: true },
    };
    await using refusing = callerOf(
      scripted(() => Promise.resolve(declared)),
      {},
      { secrets: () => secrets },
    );
    const response = await refusing.call(attemptOf(), requestOf(), never);
    expect(!response.ok && response.error).to.deep.equal({ code: "No", message: "*** is refused", retryable: true });
  });

  it("has them masked in the content type and the metadata that are refused", async () => {
    const metadata = { [`${"x".repeat(76)}k3y-0815 `]: "1" };
    const processor = scripted((request) => Promise.resolve({ ok: true, payload: request.payload, metadata }));
    await using caller = callerOf(processor, {}, { secrets: () => secrets });
    expect((await rejection(caller.call(attemptOf(), requestOf(), never))).message).not.to.include("k3y");
  });

  it("logs to its own attempt, until it has been answered", async () => {
    const lines: string[] = [];
    let late: ((text: string) => void) | undefined;
    const processor = scripted((request, context) => {
      context.log("uses k3y-0815");
      late = context.log;
      return echoing(request, context);
    });
    await using caller = callerOf(processor, {}, { secrets: () => secrets });
    await caller.call(attemptOf({ log: (line) => lines.push(line) }), requestOf(), never);
    late?.("late");
    expect(lines.map((line) => line.replace(/^\S+ /, ""))).to.deep.equal(["uses ***"]);
  });
});
