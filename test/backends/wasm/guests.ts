// Builders: requests, calls of modules in this thread, and guests that are JavaScript over a memory of their own.
import type { Abi } from "../../../backends/wasm/abis/abi.ts";
import { abiNamed } from "../../../backends/wasm/abis/abis.ts";
import { emptyMeter, Fuel } from "../../../backends/wasm/abis/fuel.ts";
import { type GuestAnswer, type GuestRequest, noCapabilities } from "../../../backends/wasm/abis/guest.ts";
import type { GuestCall } from "../../../backends/wasm/abis/guest-call.ts";
import { GuestModule } from "../../../backends/wasm/abis/guest-module.ts";
import { fuelGlobal } from "../../../backends/wasm/abis/host-exports.ts";
import { admit } from "../../../backends/wasm/admission/admit.ts";
import { MillraceError } from "../../../engine/errors.ts";

export const pageBytes = 65_536;

export function requestOf(text: string, rest: Partial<GuestRequest> = {}): GuestRequest {
  return {
    payload: new TextEncoder().encode(text),
    contentType: "text/plain",
    metadata: { "up.note": "ripe" },
    options: { depth: 2 },
    context: {
      execution: { namespace: "test", name: "run", uid: "u" },
      step: "step",
      attempt: 3,
      idempotencyKey: "u/step",
      timeoutMs: 500,
    },
    capabilities: noCapabilities,
    secrets: { token: "ripe melon" },
    maxOutputBytes: 1000,
    ...rest,
  };
}

/** An answer, and what was logged on the way. */
export interface Heard extends GuestAnswer {
  readonly log: readonly string[];
}

/** A module that was admitted, to be called in this thread. */
export function loadGuest(
  bytes: Uint8Array,
  entrypoint = "process",
  { maxMemoryBytes = 1024 * pageBytes, reuse = 1 }: { readonly maxMemoryBytes?: number; readonly reuse?: number } = {},
): (request: GuestRequest) => Heard {
  const limits = { maxMemoryBytes, fuel: 1_000_000_000 };
  const admitted = admit({ bytes, maxMemoryBytes, abi: "Auto", entrypoint });
  const module = new GuestModule(abiNamed(admitted.abi), { ...admitted, entrypoint, limits, reuse });
  return (request) => {
    const log: string[] = [];
    return { ...module.call(request, { log: (text) => log.push(text) }), log };
  };
}

export function outputText({ result }: GuestAnswer): string {
  if (result.kind !== "Output") throw new Error(`it gave ${JSON.stringify(result)}`);
  return new TextDecoder().decode(result.payload);
}

/** A call of an ABI whose guest is the test itself: its memory, and what it has logged. */
export interface OpenCall<Call extends GuestCall> {
  readonly call: Call;
  readonly log: string[];
  readonly memory: Uint8Array;
  /** Writes a text at `pointer`, and gives pointer and length. */
  put(pointer: number, text: string | Uint8Array): [pointer: number, length: number];
  textAt(pointer: number, length: number): string;
  u32At(pointer: number): number;
}

export function openCall<Call extends GuestCall>(abi: Abi<Call>, request: GuestRequest): OpenCall<Call> {
  const log: string[] = [];
  const call = abi.begin(request, { log: (text) => log.push(text) });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const meter = new WebAssembly.Global({ value: "i64", mutable: true }, emptyMeter);
  const fuel = new Fuel({ [fuelGlobal]: meter });
  fuel.fill(1_000_000_000);
  call.attach(memory, fuel);
  const bytes = new Uint8Array(memory.buffer);
  return {
    call,
    log,
    memory: bytes,
    put(pointer, text) {
      const written = typeof text === "string" ? new TextEncoder().encode(text) : text;
      bytes.set(written, pointer);
      return [pointer, written.byteLength];
    },
    textAt: (pointer, length) => new TextDecoder().decode(bytes.slice(pointer, pointer + length)),
    u32At: (pointer) => new DataView(memory.buffer).getUint32(pointer, true),
  };
}

/** What a function of the host throws, which must be one of the closed set. */
export function thrownBy(run: () => unknown): MillraceError {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof MillraceError) return thrown;
    throw thrown;
  }
  throw new Error("it threw nothing");
}
