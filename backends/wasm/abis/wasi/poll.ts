import { clocks, nanosecondsPerMs } from "./clocks.ts";
import { errno } from "./errno.ts";
import type { WasiCall } from "./wasi-call.ts";

const subscriptionBytes = 48;
const eventBytes = 32;
const clockEvent = 0;
const absoluteTime = 1;
/** More are no program's, but somebody's way to make the host work. */
const maxSubscriptions = 1024;

interface Subscription {
  readonly userData: bigint;
  readonly waitMs: number;
}

/** `poll_oneoff`: sleeps until the first of several times; there is nothing else to wait for. */
export function poll(call: WasiCall, from: number, to: number, count: number, pointer: number): number {
  if (count === 0 || count >>> 0 > maxSubscriptions) return errno.invalid;
  const subscriptions = readSubscriptions(call, from, count);
  if (typeof subscriptions === "number") return subscriptions;
  const waitMs = Math.min(...subscriptions.map((subscription) => subscription.waitMs));
  // Room for the answer is looked for before anybody sleeps.
  call.memory.slice(to, count * eventBytes, "the list of events");
  call.system.sleep(Math.min(waitMs, call.leftMs));
  const due = subscriptions.filter((subscription) => subscription.waitMs <= waitMs);
  call.memory.write(events(due), to, "the list of events");
  call.memory.setU32(pointer, due.length, "the number of events");
  return errno.success;
}

function readSubscriptions(call: WasiCall, from: number, count: number): Subscription[] | number {
  const { buffer, byteOffset, byteLength } = call.memory.slice(
    from,
    count * subscriptionBytes,
    "the list of subscriptions",
  );
  const list = new DataView(buffer, byteOffset, byteLength);
  const subscriptions: Subscription[] = [];
  for (let at = 0; at < byteLength; at += subscriptionBytes) {
    const now = list.getUint8(at + 8) === clockEvent ? clocks[list.getUint32(at + 16, true)] : undefined;
    if (now === undefined) return errno.notSupported;
    const timeout = list.getBigUint64(at + 24, true);
    const isAbsolute = (list.getUint16(at + 40, true) & absoluteTime) !== 0;
    const waitNs = isAbsolute ? timeout - now(call) : timeout;
    const waitMs = Math.max(0, Math.ceil(Number(waitNs) / Number(nanosecondsPerMs)));
    subscriptions.push({ userData: list.getBigUint64(at, true), waitMs });
  }
  return subscriptions;
}

function events(due: readonly Subscription[]): Uint8Array {
  const bytes = Buffer.alloc(due.length * eventBytes);
  // The error and the type of a clock's event are 0.
  for (const [index, { userData }] of due.entries()) bytes.writeBigUInt64LE(userData, index * eventBytes);
  return bytes;
}
