import type { MessagePort } from "node:worker_threads";
import type { ErrorCode } from "../../../engine/errors.ts";
import type { GuestHttpResponse } from "../abis/guest.ts";

/** The worker's end of a guest's network: goes with the job, its port among what is transferred. */
export interface GuestLink {
  readonly port: MessagePort;
  /** One number in shared memory: {@link asked} as long as the guest waits for an answer, then {@link answered}. */
  readonly turn: Int32Array;
}

/** What the other end answers to a request. */
export type GuestReply =
  | { readonly kind: "Answered"; readonly response: GuestHttpResponse }
  /** A MillraceError, which does not survive structured clone. */
  | { readonly kind: "Failed"; readonly code: ErrorCode; readonly message: string };

export const asked = 0;
export const answered = 1;
