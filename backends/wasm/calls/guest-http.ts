import { receiveMessageOnPort } from "node:worker_threads";
import { MillraceError } from "../../../engine/errors.ts";
import { postable } from "../../worker-message.ts";
import type { GuestHost } from "../abis/guest.ts";
import { asked, type GuestLink, type GuestReply } from "./guest-link.ts";

/**
 * HTTP as a guest in a worker has it: asks the main thread, which has the network, and blocks this thread until it has answered.
 * A call that is aborted meanwhile ends with its worker.
 */
export function guestHttp({ port, turn }: GuestLink): NonNullable<GuestHost["http"]> {
  return (request) => {
    const { bytes: body, transfer } = postable(request.body ?? new Uint8Array());
    Atomics.store(turn, 0, asked);
    port.postMessage(request.body === undefined ? request : { ...request, body }, [...transfer]);
    Atomics.wait(turn, 0, asked);
    const reply = receiveMessageOnPort(port)?.message as GuestReply | undefined;
    if (reply === undefined)
      throw new MillraceError("Internal", "a guest's network was closed while the guest waited for it");
    if (reply.kind === "Failed") throw new MillraceError(reply.code, reply.message);
    return reply.response;
  };
}
