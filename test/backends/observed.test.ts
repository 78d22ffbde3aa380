import { expect } from "chai";
import type { Backend } from "../../backends/backend.ts";
import { type Observer, observed } from "../../backends/observed.ts";
import { MillraceError } from "../../engine/errors.ts";
import {
  attemptOf,
  callerOf,
  echoing,
  ManualPorts,
  never,
  type ProcessFunction,
  rejection,
  requestOf,
  scripted,
  specOf,
} from "./support.ts";

function backendOf(process: ProcessFunction): Backend {
  return {
    kind: "Local",
    load: (spec) =>
      spec.name === "missing"
        ? Promise.reject(new MillraceError("NotFound", "none"))
        : Promise.resolve({ ...scripted(process), name: spec.name }),
    pools: () => new Map([["pool", { size: 1, inUse: 0, waiting: 0, rejected: 0 }]]),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function recorder(): Observer & { readonly seen: string[] } {
  const seen: string[] = [];
  return {
    seen,
    loaded: (backend, outcome, durationMs) => void seen.push(`loaded ${backend} ${outcome} ${durationMs}`),
    called: (backend, processor, outcome, durationMs) =>
      void seen.push(`called ${backend} ${processor} ${outcome} ${durationMs}`),
  };
}

const implementation = { kind: "Builtin", name: "echo" } as const;

async function outcomes(process: ProcessFunction, timeoutMs = 5000): Promise<string[]> {
  const ports = new ManualPorts();
  const observer = recorder();
  const backend = observed(backendOf(process), observer, ports.clock);
  const caller = callerOf(await backend.load(specOf(implementation), never), {}, { ports });
  const call = caller.call(attemptOf({ timeoutMs }), requestOf(), never).catch(() => undefined);
  ports.advance(50);
  await call;
  return observer.seen;
}

describe("an observed backend", () => {
  it("reports each load, and the code of one that failed", async () => {
    const observer = recorder();
    const backend = observed(backendOf(echoing), observer, new ManualPorts().clock);
    await backend.load(specOf(implementation), never);
    await rejection(backend.load(specOf(implementation, "missing"), never));
    expect(observer.seen).to.deep.equal(["loaded Local Succeeded 0", "loaded Local NotFound 0"]);
  });

  it("reports what became of each call", async () => {
    const error = { code: "Unripe", message: "", retryable: false };
    expect(await outcomes(echoing)).to.include("called Local subject Succeeded 50");
    expect(await outcomes(() => Promise.resolve({ ok: false, error, metadata: {} }))).to.include(
      "called Local subject Failed 50",
    );
    expect(await outcomes(() => Promise.reject(new MillraceError("Unavailable", "")))).to.include(
      "called Local subject Unavailable 50",
    );
    expect(await outcomes(() => Promise.reject(new TypeError("x")))).to.include("called Local subject Internal 50");
  });

  it("reports a call that was aborted by the reason, whatever the backend then throws", async () => {
    const untilAborted: ProcessFunction = (_request, { signal }) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("torn down"))));
    expect(await outcomes(untilAborted, 50)).to.include("called Local subject DeadlineExceeded 50");
  });

  it("shows the pools of the backend", () => {
    const backend = observed(backendOf(echoing), recorder(), new ManualPorts().clock);
    expect(backend.pools?.().get("pool")?.size).to.equal(1);
  });
});
