import type { Ports } from "../../../engine/clock.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { binaryType } from "../../../engine/payload.ts";
import type { AttemptTime, ProcessorSpec } from "../../backend.ts";
import type { GuestCapabilities, GuestRequest } from "../abis/guest.ts";
import type { Calls, CallTarget } from "./call.ts";

/** How long it may take, in milliseconds, waiting for a thread not counted. */
const smokeMs = 5_000;

/** What is tried. */
export interface Smoke {
  readonly calls: Calls;
  readonly target: CallTarget;
  readonly capabilities: GuestCapabilities;
  readonly ports: Ports;
}

/**
 * Makes an instance as a call would, in a worker and under a call's limits, and runs all but the entrypoint: what cannot get so far
 * would fail every call.
 * @throws InvalidInput (it trapped, or broke its ABI's rules), SandboxViolation (a limit, or 5 s), ResourceExhausted, `signal`'s reason
 */
export async function smokeTest(smoke: Smoke, spec: ProcessorSpec, signal: AbortSignal): Promise<void> {
  const { calls, target, capabilities, ports } = smoke;
  const late = new AbortController();
  using time = new SmokeTime(ports, () => late.abort(tooLate()));
  const answer = await calls.call({
    kind: "Smoke",
    target,
    request: requestOf(spec, capabilities),
    // Not in the turn of the Processor's calls: those of a version that spins would hold up the one that mends it.
    owner: { namespace: spec.namespace, processor: `${spec.name} (smoke test)` },
    signal: AbortSignal.any([signal, late.signal]),
    time,
    log: () => undefined,
  });
  if (answer.result.kind !== "Error") return;
  const { code, message } = answer.result;
  const told = `The WASM module cannot be used, as no instance of it gets ready for a call. ${message}`;
  throw new MillraceError(code === "ProcessorCrashed" ? "InvalidInput" : code, told);
}

function tooLate(): MillraceError {
  return new MillraceError(
    "SandboxViolation",
    `The WASM module cannot be used, as no instance of it gets ready for a call within ${smokeMs} ms. Look for a loop without end in its start function or constructors, or lower spec.wasm.limits.fuel.`,
  );
}

/** What a guest may see of a call that nobody made. */
function requestOf(spec: ProcessorSpec, capabilities: GuestCapabilities): GuestRequest {
  const { namespace, name, limits } = spec;
  return {
    payload: new Uint8Array(),
    contentType: binaryType,
    metadata: {},
    options: {},
    context: {
      execution: { namespace, name: "smoke-test", uid: "00000000-0000-0000-0000-000000000000" },
      step: name,
      attempt: 1,
      idempotencyKey: "smoke-test",
      timeoutMs: smokeMs,
    },
    secrets: {},
    capabilities,
    maxOutputBytes: limits.maxOutputBytes,
  };
}

/** The time that begins when a thread takes the call. */
class SmokeTime implements AttemptTime, Disposable {
  readonly #ports: Ports;
  readonly #expire: () => void;
  #dispose: (() => void) | undefined;

  constructor(ports: Ports, expire: () => void) {
    this.#ports = ports;
    this.#expire = expire;
  }

  pause(): void {
    this.#dispose?.();
    this.#dispose = undefined;
  }

  resume(): number {
    this.pause();
    const timer = this.#ports.scheduler.after(smokeMs, this.#expire);
    this.#dispose = () => timer.cancel();
    return smokeMs;
  }

  [Symbol.dispose](): void {
    this.pause();
  }
}
