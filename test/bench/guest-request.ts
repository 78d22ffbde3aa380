// What the benches of ABIs ask of the reference module: `uppercase`, by nobody who listens.
import { type GuestHost, type GuestRequest, noCapabilities } from "../../backends/wasm/abis/guest.ts";
import { textType } from "../../engine/payload.ts";

export const unheard: GuestHost = { log: (): void => undefined };

export function requestOf(payload: Uint8Array): GuestRequest {
  return {
    payload,
    contentType: textType,
    metadata: {},
    options: { behaviour: "uppercase" },
    context: {
      execution: { namespace: "bench", name: "run", uid: "00000000-0000-0000-0000-000000000001" },
      step: "step",
      attempt: 1,
      idempotencyKey: "00000000-0000-0000-0000-000000000001/step",
      timeoutMs: 30_000,
    },
    secrets: {},
    capabilities: noCapabilities,
    maxOutputBytes: 4 * 1024 * 1024,
  };
}
