import { expect } from "chai";
import { SourceRefusal } from "../../../backends/source-refusal.ts";
import type { WasmSource } from "../../../controller/api/types.ts";
import { decide, probeAfterMs, resolveAgainMs, retryAfterMs } from "../../../controller/processor/decide.ts";
import { probeRefusalOf, type Refusal, refusalOf } from "../../../controller/processor/refusal.ts";
import type { Holding, Version } from "../../../controller/processor/versions.ts";
import { errorCodes, MillraceError } from "../../../engine/errors.ts";
import { apiSpec, candidate, wasmSpec } from "./builders.ts";

const first = candidate(1);
const second = candidate(2);
const serving = (served = first): Version => ({ candidate: served }) as Version;
const refusal: Refusal = { reason: "ModuleNotFound", duration: "Permanent", message: "no such file" };
const refused = (fingerprint: string, retryAtMs?: number): NonNullable<Holding["refused"]> => ({
  fingerprint,
  refusal,
  failures: 0,
  ...(retryAtMs === undefined ? {} : { retryAtMs }),
});

describe("what is done with a Processor", () => {
  const rows: readonly [string, Parameters<typeof decide>, ReturnType<typeof decide>][] = [
    ["loads the first version", [first, {}, 0], { action: "Load", reason: "FirstVersion" }],
    ["keeps what serves", [first, { serving: serving() }, 0], { action: "Keep" }],
    [
      "loads a new version beside the old one",
      [second, { serving: serving() }, 0],
      { action: "Load", reason: "NewVersion" },
    ],
    [
      "waits for a change of what was refused for good",
      [second, { serving: serving(), refused: refused(second.fingerprint) }, 1e9],
      { action: "Wait" },
    ],
    [
      "waits until a refused one is to be tried again",
      [first, { refused: refused(first.fingerprint, 500) }, 200],
      { action: "Wait", retryAfterMs: 300 },
    ],
    [
      "tries a refused one again in time",
      [first, { refused: refused(first.fingerprint, 500) }, 500],
      { action: "Load", reason: "TriedAgain" },
    ],
    [
      "loads at once what came after a refused one",
      [second, { refused: refused(first.fingerprint, 500) }, 0],
      { action: "Load", reason: "FirstVersion" },
    ],
    [
      "keeps what serves when it is asked for again after a refused one",
      [first, { serving: serving(), refused: refused(second.fingerprint) }, 0],
      { action: "Keep" },
    ],
  ];
  for (const [what, args, expected] of rows) it(what, () => expect(decide(...args)).to.deep.equal(expected));
});

describe("why a Processor is refused", () => {
  const builtin = candidate(1).spec.implementation;
  const module = candidate(1, apiSpec({ local: { module: { file: "a.mjs", export: "process", isolation: "Thread" } } }))
    .spec.implementation;
  const endpoint = candidate(1, apiSpec({ rpc: { protocol: "GRPC", endpoint: "a:1", maxConnections: 4 } })).spec
    .implementation;
  const image = candidate(1, apiSpec({ wasm: wasmSpec({ source: { oci: "a" } }) })).spec.implementation;
  const rows: readonly [string, Parameters<typeof refusalOf>, string, string][] = [
    ["a built-in that does not exist", [new MillraceError("NotFound", "m"), builtin], "BuiltinNotFound", "Permanent"],
    ["a file that does not exist", [new MillraceError("NotFound", "m"), module], "ModuleNotFound", "Permanent"],
    ["a module that is none", [new MillraceError("InvalidInput", "m"), module], "ModuleRefused", "Permanent"],
    ["a module that fails to load", [new MillraceError("ProcessorFailed", "m"), module], "ModuleRefused", "Permanent"],
    ["a module too large", [new MillraceError("PayloadTooLarge", "m"), module], "ModuleTooLarge", "Permanent"],
    ["a path that climbs", [new MillraceError("SandboxViolation", "m"), module], "SandboxViolation", "Permanent"],
    ["an endpoint that is none", [new MillraceError("InvalidInput", "m"), endpoint], "InvalidEndpoint", "Permanent"],
    ["a source that is away", [new MillraceError("Unavailable", "m"), module], "LoadFailed", "Transient"],
    ["a registry that is away", [new MillraceError("Unavailable", "m"), image], "ModuleUnavailable", "Transient"],
    ["a tag that does not exist", [new MillraceError("NotFound", "m"), image], "ModuleNotFound", "Permanent"],
    ["credentials that do not do", [new SourceRefusal("Unauthorized", "m"), image], "ModuleUnauthorized", "Permanent"],
    [
      "a signature that is not there",
      [new SourceRefusal("SignatureRefused", "m"), image],
      "SignatureRefused",
      "Permanent",
    ],
    ["a cache that may not be filled", [new SourceRefusal("NotCached", "m"), image], "ModuleNotCached", "Permanent"],
    ["a load that takes too long", [new MillraceError("DeadlineExceeded", "m"), module], "LoadFailed", "Transient"],
    ["a defect of ours", [new MillraceError("Internal", "m"), module], "InternalError", "Transient"],
    ["a spec that cannot be read", [new MillraceError("InvalidInput", "m"), undefined], "InvalidSpec", "Permanent"],
  ];
  for (const [what, args, reason, duration] of rows) {
    it(`says ${reason} of ${what}`, () => expect(refusalOf(...args)).to.include({ reason, duration, message: "m" }));
  }

  it("has a reason for every code", () => {
    for (const code of errorCodes) expect(refusalOf(new MillraceError(code, "m"), module).reason).to.match(/^[A-Z]/);
  });

  it("keeps a message within bounds", () => {
    expect(refusalOf(new MillraceError("NotFound", "x".repeat(5_000)), module).message).to.have.length(1_000);
  });

  it("tells an endpoint that is away from one that is another", () => {
    expect(probeRefusalOf(new MillraceError("Unavailable", "m"))).to.include({
      reason: "EndpointUnreachable",
      duration: "Transient",
    });
    expect(probeRefusalOf(new MillraceError("InvalidInput", "m"))).to.include({
      reason: "EndpointMismatch",
      duration: "Permanent",
    });
  });
});

describe("when a Processor is tried again by itself", () => {
  const middle = () => 0.5;
  const transient: Refusal = { reason: "LoadFailed", duration: "Transient", message: "m" };
  const file = candidate(1, apiSpec({ local: { module: { file: "a.mjs", export: "process", isolation: "Thread" } } }))
    .spec.implementation;

  it("backs off from a second to a minute while it may pass", () => {
    const delays = [0, 1, 2, 5, 6, 100].map((failures) => retryAfterMs(transient, file, failures, middle));
    expect(delays).to.deep.equal([1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
  });

  it("looks for a file every half a minute, as nothing tells when it appears", () => {
    expect(retryAfterMs(refusal, file, 0, middle)).to.equal(30_000);
  });

  const wasm = (source: WasmSource) => candidate(1, apiSpec({ wasm: wasmSpec({ source }) })).spec.implementation;

  it("looks for a module's file more often while that is not there, and every minute for what is fetched", () => {
    const missing = [{ file: "a.wasm" }, { http: "https://a" }, { configMapKeyRef: { name: "a", key: "b" } }].map(
      (source) => resolveAgainMs(refusal, wasm(source), 0, middle),
    );
    expect(missing).to.deep.equal([5_000, 60_000, undefined]);
    expect(retryAfterMs(refusal, wasm({ oci: "a" }), 0, middle)).to.equal(60_000);
  });

  it("lets a registry alone as long as it wants to be, but not for ever", () => {
    const waits = [10, 30_000, 1e9].map((wantedMs) => {
      return retryAfterMs({ ...transient, retryAfterMs: wantedMs }, wasm({ oci: "a" }), 0, middle);
    });
    expect(waits).to.deep.equal([1_000, 30_000, 600_000]);
  });

  it("never tries a built-in again", () => {
    expect(retryAfterMs(refusal, candidate(1).spec.implementation, 0, middle)).to.equal(undefined);
  });

  it("strays by a fifth, either way", () => {
    expect([0, 1].map((random) => Math.round(retryAfterMs(transient, file, 0, () => random) ?? 0))).to.deep.equal([
      800, 1_200,
    ]);
  });

  it("asks an endpoint often while it is away, and rarely else", () => {
    expect(probeAfterMs(undefined, middle)).to.equal(60_000);
    expect(probeAfterMs(transient, middle)).to.equal(5_000);
  });
});
