import { expect } from "chai";
import type { Refusal } from "../../../controller/processor/refusal.ts";
import { type Observation, processorStatus, type ServingObservation } from "../../../controller/processor/status.ts";
import { apiProcessor } from "./builders.ts";

const module = { digest: "sha256:aa", bytes: 10, source: "file words.mjs" };
const local: ServingObservation = { generation: 1, backend: "Local", module };
const remote: ServingObservation = { generation: 1, backend: "RPC" };
const permanent: Refusal = { reason: "ModuleRefused", duration: "Permanent", message: "no function" };
const transient: Refusal = { reason: "LoadFailed", duration: "Transient", message: "disk away" };
const unreachable: Refusal = { reason: "EndpointUnreachable", duration: "Transient", message: "refused" };

const lacking: Refusal = { reason: "SecretNotFound", duration: "Permanent", message: "no Secret" };

/** `Type=Status/Reason@observedGeneration`, sorted. */
function told(seen: Observation): readonly string[] {
  return (processorStatus(apiProcessor(seen.generation), seen, 0).conditions ?? [])
    .map(({ type, status, reason, observedGeneration }) => `${type}=${status}/${reason}@${observedGeneration}`)
    .toSorted();
}

describe("the conditions of a Processor", () => {
  const rows: readonly [string, Observation, readonly string[]][] = [
    [
      "are Ready and PluginLoaded of a module that is loaded",
      { generation: 1, backend: "Local", serving: local },
      ["PluginLoaded=True/Loaded@1", "Ready=True/Loaded@1"],
    ],
    [
      "are ModuleCached of WASM",
      { generation: 1, backend: "WASM", serving: { ...local, backend: "WASM" } },
      ["ModuleCached=True/Loaded@1", "Ready=True/Loaded@1"],
    ],
    [
      "are EndpointReachable of a service that answers",
      { generation: 1, backend: "RPC", serving: remote },
      ["EndpointReachable=True/EndpointReachable@1", "Ready=True/EndpointReachable@1"],
    ],
    [
      "are Reconciling while a service is away",
      { generation: 1, backend: "RPC", serving: { ...remote, unreachable } },
      [
        "EndpointReachable=False/EndpointUnreachable@1",
        "Ready=False/EndpointUnreachable@1",
        "Reconciling=True/EndpointUnreachable@1",
      ],
    ],
    [
      "are Stalled of a version that lost a secret, though its module is loaded",
      { generation: 1, backend: "Local", serving: { ...local, lacking } },
      ["PluginLoaded=True/Loaded@1", "Ready=False/SecretNotFound@1", "Stalled=True/SecretNotFound@1"],
    ],
    [
      "are Stalled of a first version that is refused for good",
      { generation: 1, backend: "Local", refused: permanent },
      ["PluginLoaded=False/ModuleRefused@1", "Ready=False/ModuleRefused@1", "Stalled=True/ModuleRefused@1"],
    ],
    [
      "are Reconciling of a first version that may load soon",
      { generation: 1, backend: "Local", refused: transient },
      ["PluginLoaded=False/LoadFailed@1", "Ready=False/LoadFailed@1", "Reconciling=True/LoadFailed@1"],
    ],
    [
      "stay Ready for the old generation and say why the new one is refused",
      { generation: 2, backend: "Local", serving: local, refused: permanent },
      ["PluginLoaded=False/ModuleRefused@2", "Ready=True/PreviousVersionServes@1", "Stalled=True/ModuleRefused@2"],
    ],
    [
      "speak of the new backend when it is refused, though the old one serves",
      { generation: 2, backend: "WASM", serving: local, refused: permanent },
      ["ModuleCached=False/ModuleRefused@2", "Ready=True/PreviousVersionServes@1", "Stalled=True/ModuleRefused@2"],
    ],
    [
      "are not Ready when the old endpoint is away too",
      { generation: 2, backend: "RPC", serving: { ...remote, unreachable }, refused: transient },
      ["EndpointReachable=False/LoadFailed@2", "Ready=False/EndpointUnreachable@1", "Reconciling=True/LoadFailed@2"],
    ],
  ];
  for (const [what, seen, expected] of rows) it(what, () => expect(told(seen)).to.deep.equal(expected));

  it("name the digest that serves on when the module changed under the same generation", () => {
    const seen: Observation = { generation: 1, backend: "Local", serving: local, refused: permanent };
    const ready = processorStatus(apiProcessor(1), seen, 0).conditions?.find(({ type }) => type === "Ready");
    expect(ready?.message).to.contain("sha256:aa").and.contain("no function");
  });

  it("keep their times while their status is the same, and lose what is over", () => {
    const refused = processorStatus(apiProcessor(1), { generation: 1, backend: "Local", refused: permanent }, 1_000);
    const again = processorStatus(
      apiProcessor(1, undefined, refused),
      { generation: 1, backend: "Local", refused: permanent },
      9_000,
    );
    expect(again).to.deep.equal(refused);
    const mended = processorStatus(
      apiProcessor(2, undefined, again),
      { generation: 2, backend: "Local", serving: { ...local, generation: 2 } },
      9_000,
    );
    expect(mended.conditions?.map(({ type, lastTransitionTime }) => [type, lastTransitionTime])).to.deep.equal([
      ["Ready", "1970-01-01T00:00:09Z"],
      ["PluginLoaded", "1970-01-01T00:00:09Z"],
    ]);
  });

  it("replace the CRD's defaults, which nobody has observed", () => {
    const never = "1970-01-01T00:00:00Z";
    const pending = {
      status: "Unknown",
      reason: "Pending",
      message: "Waiting for the controller",
      lastTransitionTime: never,
    } as const;
    const object = apiProcessor(1, undefined, {
      conditions: [
        { type: "Ready", ...pending },
        { type: "Reconciling", ...pending, status: "True" },
      ],
    });
    const status = processorStatus(object, { generation: 1, backend: "Local", refused: transient }, 5_000);
    expect(status.conditions?.every(({ lastTransitionTime }) => lastTransitionTime !== never)).to.equal(true);
  });

  it("go with the module of what serves, its lists bounded", () => {
    const many = Array.from({ length: 1_000 }, (_, index) => `f${index}`);
    const seen: Observation = {
      generation: 1,
      backend: "WASM",
      serving: { ...local, module: { ...module, exports: many } },
    };
    const status = processorStatus(apiProcessor(1), seen, 0);
    expect(status.module?.exports).to.have.length(256);
    expect(status).to.include({ backend: "Local", observedGeneration: 1 });
  });
});
