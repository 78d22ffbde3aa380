import { MillraceError } from "../../../engine/errors.ts";
import type { Abi, GuestExports, Kept } from "./abi.ts";
import { initializersOf } from "./contract.ts";
import { Fuel } from "./fuel.ts";
import type { GuestAnswer, GuestHost, GuestRequest, GuestResult, GuestTarget } from "./guest.ts";
import type { GuestCall } from "./guest-call.ts";
import { returned } from "./guest-exit.ts";
import { startExport } from "./host-exports.ts";
import { forgetRefusedMemory, translateTrap } from "./traps.ts";
import { type RandomPurpose, wasiSystem } from "./wasi/system.ts";
import { wasiImports } from "./wasi/wasi.ts";
import { WasiCall } from "./wasi/wasi-call.ts";

/** What is called of an instance that is ready. */
type Serve = (call: GuestCall, exports: GuestExports) => GuestResult;

/** An instance, for one call or for more. */
interface GuestInstance {
  readonly instance: WebAssembly.Instance;
  readonly memory: WebAssembly.Memory;
  readonly fuel: Fuel;
  /** How many calls it has served. */
  calls: number;
}

/**
 * An admitted module, callable in this thread; each call gets an instance of its own, unless it is to be reused. The import object is
 * made once: calls are synchronous, so that at most one instance is alive to use it.
 */
export class GuestModule {
  readonly #abi: Abi;
  readonly #target: GuestTarget;
  readonly #imports: WebAssembly.Imports;
  readonly #beside: Kept | undefined;
  #initializers: readonly string[] | undefined;
  #call: GuestCall | undefined;
  /** Of the same call: made when it first asks for WASI. */
  #wasi: WasiCall | undefined;
  #instanceStartMs = 0;
  #randomPurpose: RandomPurpose = "Instance";
  #kept: GuestInstance | undefined;

  constructor(abi: Abi, target: GuestTarget) {
    this.#abi = abi;
    this.#target = target;
    this.#imports = { ...abi.imports(() => this.#current), ...wasiImports(() => this.#currentWasi) };
    this.#beside = abi.keep?.(() => this.#current, target.limits);
  }

  /** Runs to the end in this thread: a module that waits is stopped only by ending the thread. Throws nothing. */
  call(request: GuestRequest, host: GuestHost): GuestAnswer {
    return this.#serve(request, host, (call, exports) => this.#abi.invoke(call, exports, this.#target.entrypoint));
  }

  /** As {@link call}, of all that a call needs but the entrypoint, whose effects and whose valid input nobody knows: the output is empty. */
  smoke(request: GuestRequest, host: GuestHost): GuestAnswer {
    const answer = this.#serve(request, host, (call, exports) => {
      this.#abi.probe?.(call, exports);
      return { kind: "Output", payload: new Uint8Array(), contentType: request.contentType, metadata: {} };
    });
    this.drop();
    return answer;
  }

  /** The memory of the instance that is kept for the next call; 0: there is none. */
  get keptBytes(): number {
    if (this.#kept === undefined) return 0;
    return this.#kept.memory.buffer.byteLength + (this.#beside?.heldBytes ?? 0);
  }

  /** Lets the instance go that is kept for the next call. */
  drop(): void {
    this.#kept = undefined;
    this.#beside?.clear();
  }

  #serve(request: GuestRequest, host: GuestHost, serve: Serve): GuestAnswer {
    const { fuel: units, maxMemoryBytes } = this.#target.limits;
    const call = this.#abi.begin(request, host);
    this.#call = call;
    // Out of reach until it has served: after an error nobody knows what state it is in.
    let guest = this.#kept;
    this.#kept = undefined;
    try {
      guest ??= this.#instantiate();
      guest.fuel.fill(units);
      call.attach(guest.memory, guest.fuel);
      this.#beside?.begin(call, guest.instance.exports);
      this.#ready(guest);
      this.#randomPurpose = "Call";
      this.#wasi?.beginCall();
      const result = serve(call, guest.instance.exports);
      // The last charges may have passed the limit where nothing stopped the guest any more.
      if (guest.fuel.isExhausted) throw guest.fuel.exceeded();
      const { used } = guest.fuel;
      this.#keep(guest, call);
      return { result, fuel: used };
    } catch (thrown) {
      const state = { instance: guest?.instance, fuel: guest?.fuel, maxMemoryBytes };
      const { code, message } = translateTrap(thrown, state);
      return { result: { kind: "Error", code, message }, fuel: guest?.fuel.used ?? 0 };
    } finally {
      this.#wasi?.flush();
      this.#wasi = undefined;
      this.#call = undefined;
      if (this.#kept === undefined) this.drop();
    }
  }

  #freshImports(): WebAssembly.Imports {
    return this.#beside === undefined ? this.#imports : { ...this.#imports, ...this.#beside.freshImports() };
  }

  #instantiate(): GuestInstance {
    this.#instanceStartMs = wasiSystem.monotonicNow();
    this.#randomPurpose = "Instance";
    const instance = new WebAssembly.Instance(this.#target.module, this.#freshImports());
    const memory = instance.exports.memory as WebAssembly.Memory;
    return { instance, memory, fuel: new Fuel(instance.exports), calls: 0 };
  }

  /** Of a fresh instance the start function, then constructors: code of the guest. */
  #ready({ instance, calls }: GuestInstance): void {
    if (calls > 0) {
      forgetRefusedMemory(instance);
      return;
    }
    this.#initializers ??= this.#initializersIn(instance.exports);
    for (const name of this.#initializers) returned(() => (instance.exports[name] as () => void)());
  }

  /** A module's instances all have the same exports. */
  #initializersIn(exports: GuestExports): string[] {
    const has = (name: string) => exports[name] !== undefined;
    const named = initializersOf(this.#abi.contract, has).map(({ name }) => name);
    return has(startExport) ? [startExport, ...named] : named;
  }

  /** For the next call, unless it has served all of its own, ended itself, or cannot give back what this call took. */
  #keep(guest: GuestInstance, call: GuestCall): void {
    guest.calls += 1;
    if (guest.calls >= this.#target.reuse || this.#wasi?.hasExited === true) return;
    try {
      this.#abi.release?.(call, guest.instance.exports);
    } catch {
      return;
    }
    this.#kept = guest;
  }

  get #current(): GuestCall {
    if (this.#call === undefined) throw new MillraceError("Internal", "a WASM module called back outside of a call");
    return this.#call;
  }

  get #currentWasi(): WasiCall {
    this.#wasi ??= new WasiCall(this.#current, wasiSystem, this.#instanceStartMs, this.#randomPurpose);
    return this.#wasi;
  }
}
