import { expect } from "chai";
import { observed } from "../../backends/observed.ts";
import { MillraceError } from "../../engine/errors.ts";
import { noMetadata } from "../../engine/metadata.ts";
import type { Invoke } from "../../engine/run/run-options.ts";
import { attemptOf, ManualPorts, never, rejection, requestOf } from "./support.ts";

describe("an observed attempt", () => {
  const seen: string[] = [];
  const ports = new ManualPorts();
  const watch = (invoke: Invoke): Invoke =>
    observed(
      invoke,
      "Local",
      (backend, code, durationMs) => seen.push(`${backend} ${code} ${durationMs}`),
      ports.clock,
    );
  const slowly = <T>(value: T): Promise<T> => {
    ports.advance(50);
    return Promise.resolve(value);
  };
  beforeEach(() => seen.splice(0));

  it("tells how long a success took, and gives it on as it is", async () => {
    const { payload } = requestOf();
    const response = { ok: true, payload, metadata: noMetadata } as const;
    expect(await watch(() => slowly(response))(attemptOf({}), requestOf(), never)).to.equal(response);
    expect(seen).to.deep.equal(["Local OK 50"]);
  });

  it("tells a declared failure from a success", async () => {
    const error = { code: "OutOfInk", message: "none", retryable: false };
    await watch(() => slowly({ ok: false, error, metadata: noMetadata }))(attemptOf({}), requestOf(), never);
    expect(seen).to.deep.equal(["Local ProcessorFailed 50"]);
  });

  it("tells the code of what is thrown, and throws it on", async () => {
    const gone = new MillraceError("Unavailable", "gone");
    expect(await rejection(watch(() => Promise.reject(gone))(attemptOf({}), requestOf(), never))).to.equal(gone);
    const defect = watch(() => Promise.reject(new TypeError("a defect")));
    await defect(attemptOf({}), requestOf(), never).catch(() => undefined);
    expect(seen).to.deep.equal(["Local Unavailable 0", "Local Internal 0"]);
  });
});
