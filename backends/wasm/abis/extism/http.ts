import { MillraceError } from "../../../../engine/errors.ts";
import type { GuestHttpRequest } from "../guest.ts";
import { readObject, textsOf } from "../guest-json.ts";
import { brokenRule } from "../refusals.ts";
import type { ExtismCall } from "./extism-call.ts";
import type { KernelNumber } from "./kernel.ts";

/** Of a request's JSON: its method, URL and headers. */
const maxRequestBytes = 256 * 1024;

/**
 * Makes the request that the block at `address` describes, with what is in the block at `body`, and gives the block of the answer's body.
 * @throws SandboxViolation when the module has no network
 */
export function request(call: ExtismCall, address: KernelNumber, body: KernelNumber): KernelNumber {
  call.response = undefined;
  const { http } = call.host;
  if (http === undefined) throw noNetwork();
  const { status, headers, body: answered } = http(describe(call, address, body));
  call.response = { status, headers };
  return call.place(answered);
}

function noNetwork(): MillraceError {
  return new MillraceError(
    "SandboxViolation",
    "The WASM module made an HTTP request, but its Processor lets it reach no host. List the hosts that it may reach in spec.wasm.capabilities.allowedHosts.",
  );
}

function describe(call: ExtismCall, address: KernelNumber, body: KernelNumber): GuestHttpRequest {
  const asked = readObject(call.jsonAt(address, maxRequestBytes, "an HTTP request")) ?? {};
  const { url, method = "GET", headers, header } = asked;
  if (typeof url !== "string" || typeof method !== "string") throw malformed(call);
  const described = {
    url,
    method: method === "" ? "GET" : method.toUpperCase(),
    headers: texts(call, headers ?? header ?? {}),
  };
  if (body === 0n) return described;
  // Copied: it goes to another thread, and a view would take the whole memory along.
  return { ...described, body: new Uint8Array(call.block(body, "an HTTP request's body")) };
}

function texts(call: ExtismCall, value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed(call);
  const entries = textsOf(value);
  if (entries === undefined) throw malformed(call);
  return Object.fromEntries(entries);
}

function malformed(call: ExtismCall): MillraceError {
  return brokenRule(
    call.abi,
    'an HTTP request is not of the form {"url": text, "method": text, "headers": {name: text}}, in JSON',
  );
}
