import type { AbiContract } from "./contract.ts";
import type { GuestHost, GuestLimits, GuestRequest, GuestResult } from "./guest.ts";
import type { GuestCall } from "./guest-call.ts";

/** The host's side of one ABI. It has no state of its own: what a call needs is in its `Call`. */
export interface Abi<Call extends GuestCall = GuestCall> {
  readonly contract: AbiContract;
  begin(request: GuestRequest, host: GuestHost): Call;
  /**
   * What the module imports of this ABI; made once for a module, so that `current` gives the call that is under way: calls are
   * synchronous, and at most one is.
   */
  imports(current: () => Call): WebAssembly.Imports;
  /** What the ABI keeps for a module in one thread beside its instances' memories; made once. Absent: nothing. */
  keep?(current: () => Call, limits: GuestLimits): Kept<Call>;
  /**
   * Calls the entrypoint of an instance that has been initialized.
   * @throws MillraceError, and what the guest's code throws
   */
  invoke(call: Call, exports: GuestExports, entrypoint: string): GuestResult;
  /**
   * Tries what each call needs besides the entrypoint. Absent: nothing.
   * @throws as `invoke`
   */
  probe?(call: Call, exports: GuestExports): void;
  /**
   * Gives back what the call has taken in the instance, before that serves another one.
   * @throws what the guest's code throws
   */
  release?(call: Call, exports: GuestExports): void;
}

/** What an ABI keeps for one module. Nothing of one instance is there for the next. */
export interface Kept<Call extends GuestCall = GuestCall> {
  /** Bytes of memory that it has grown to. */
  readonly heldBytes: number;
  /** The instance that was made last serves no other call: clears everything, and lets memory go that has grown. */
  clear(): void;
  /** Clears everything, and gives what the next instance imports besides `Abi.imports`. */
  freshImports(): WebAssembly.Imports;
  /** Before a call's first code of the guest runs: of the instance that was made last, be it fresh or reused; `exports` are its. */
  begin(call: Call, exports: GuestExports): void;
}

/** An instance's exports; their types were checked when the module was admitted. */
export type GuestExports = Readonly<Record<string, unknown>>;

/** An exported function of numbers. */
export type GuestFunction = (...parameters: number[]) => number;
