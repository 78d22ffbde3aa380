import type { AttemptTime } from "../../backend.ts";
import type { Owner } from "../../turns.ts";
import type { TakeLog } from "../../worker-thread.ts";
import type { GuestAnswer, GuestRequest, GuestTarget } from "../abis/guest.ts";

/** What a call is made of, and the name by which threads know it: that of one loaded processor, as no two share an instance. */
export interface CallTarget extends GuestTarget {
  readonly id: string;
}

/** One call. */
export interface WasmCall {
  /** "Smoke": all of it but the entrypoint. */
  readonly kind: "Call" | "Smoke";
  readonly target: CallTarget;
  readonly request: GuestRequest;
  readonly owner: Owner;
  readonly signal: AbortSignal;
  /** Goes on when a thread takes the call. Absent: nobody keeps the time. */
  readonly time: AttemptTime | undefined;
  readonly log: TakeLog;
}

/** Where calls are made. */
export interface Calls {
  /** How many calls one Processor may have at a time; absent: any number. */
  readonly maxPerProcessor?: number;
  /** What the module does wrong is in the answer. @throws MillraceError where the call could not be made; `signal`'s reason */
  call(call: WasmCall): Promise<GuestAnswer>;
}
