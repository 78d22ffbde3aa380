import type { IncomingMessage } from "node:http";
import type { Scheduler } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import { Refusal } from "./refusal.ts";
import type { PayloadRef } from "./store.ts";

/** The largest payload there is, and so the largest body that is taken; in bytes. */
const maxUploadBytes = 64 * 1024 * 1024;

/** How long nothing may come of a body that is not complete, in milliseconds. */
const idleMs = 30_000;

/** Each holds a file and a connection. */
const maxUploads = 8;

/** Of one namespace: whoever sends slowly, or without end, leaves the others room. */
const maxUploadsOfNamespace = 4;

/** Bodies that are being received, at most 8 at a time and 4 of one namespace: who comes then is told to come again. */
export class Uploads {
  readonly #scheduler: Scheduler;
  /** By namespace, those that have any. */
  readonly #current = new Map<string, number>();

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  /** Checks the head, then hands on what is claimed and the body. Throws Refusal, and what `take` throws. */
  async receive<T>(
    request: IncomingMessage,
    { namespace, digest }: { readonly namespace: string; readonly digest: string },
    take: (claimed: Pick<PayloadRef, "digest" | "bytes">, body: AsyncIterable<Uint8Array>) => Promise<T>,
  ): Promise<T> {
    const bytes = lengthOf(request);
    this.#enter(namespace);
    try {
      return await take({ digest, bytes }, bodyOf(request, this.#scheduler));
    } finally {
      this.#leave(namespace);
    }
  }

  #enter(namespace: string): void {
    const own = this.#current.get(namespace) ?? 0;
    const all = this.#current.values().reduce((sum, count) => sum + count, 0);
    if (own >= maxUploadsOfNamespace || all >= maxUploads) {
      const what = own >= maxUploadsOfNamespace ? `${own} payloads of namespace ${namespace}` : `${all} payloads`;
      throw new Refusal(429, "TooManyRequests", `${what} are being received; try again in a second`);
    }
    this.#current.set(namespace, own + 1);
  }

  #leave(namespace: string): void {
    const left = (this.#current.get(namespace) ?? 0) - 1;
    if (left > 0) this.#current.set(namespace, left);
    else this.#current.delete(namespace);
  }
}

function lengthOf({ headers }: IncomingMessage): number {
  const text = headers["content-length"];
  if (text === undefined) {
    throw new Refusal(411, "LengthRequired", "a payload is put with its Content-Length: room is set aside for it");
  }
  const bytes = Number(text);
  if (bytes <= maxUploadBytes) return bytes;
  const what = `the payload has ${bytes} bytes, and the limit is ${maxUploadBytes}`;
  throw new Refusal(413, "RequestEntityTooLarge", what);
}

/** The body as it comes. Whoever sends nothing for half a minute, or has gone without a word, is not waited for. */
async function* bodyOf(request: IncomingMessage, scheduler: Scheduler): AsyncGenerator<Uint8Array, void> {
  // The connection stays, so that an answer can be given.
  const chunks = request.iterator({ destroyOnReturn: false }) as AsyncIterator<Uint8Array>;
  for (;;) {
    const late = Promise.withResolvers<never>();
    const message = `nothing came of the payload for ${idleMs / 1000} s`;
    const timer = scheduler.after(idleMs, () => late.reject(new MillraceError("DeadlineExceeded", message)));
    let next: IteratorResult<Uint8Array>;
    try {
      next = await Promise.race([chunks.next(), late.promise]);
    } finally {
      // How long the disk takes is not the sender's fault.
      timer.cancel();
    }
    if (next.done === true) return;
    yield next.value;
  }
}
