import { lookup as dnsLookup, type LookupAddress } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import { createSecureContext, getCACertificates, type SecureContext } from "node:tls";
import { buildConnector } from "undici";
import type { AddressGuard } from "../../addresses.ts";
import type { InsecureHosts } from "./insecure-hosts.ts";

/** A host has only addresses that nothing may connect to; `why` as the guard says it. */
export class AddressRefused extends Error {
  override readonly name = "AddressRefused";
  readonly address: string;
  readonly why: string;

  constructor(address: string, why: string) {
    super(`${address} is ${why}`);
    this.address = address;
    this.why = why;
  }
}

/** Finds all addresses of a name; `node:dns`'s, or a test's. */
export type LookupAll = (
  hostname: string,
  answer: (error: Error | null, addresses: readonly LookupAddress[]) => void,
) => void;

export interface ConnectOptions {
  readonly guard: AddressGuard;
  readonly insecureHosts: InsecureHosts;
  /** PEM of authorities beside those that the platform trusts. */
  readonly ca: string | undefined;
  readonly connectTimeoutMs: number;
  readonly lookup: LookupAll | undefined;
}

/**
 * Makes undici's connections. A name is looked up once, and only those of its addresses are connected to that the guard lets
 * pass: a name that is another's address a moment later gains nothing by it. Literal addresses are checked as well. Hosts that
 * the administrator called insecure are connected to wherever they are, and their certificates are not verified.
 */
export function guardedConnect(options: ConnectOptions): buildConnector.connector {
  const { guard, insecureHosts, ca, connectTimeoutMs: timeout } = options;
  const find = options.lookup ?? lookupAll;
  const common = { allowH2: false, timeout } as const;
  const open = buildConnector({ ...common, rejectUnauthorized: false, lookup: answering(find) });
  const lookup = answering(guarded(find, guard));
  // Reading some 150 authorities takes milliseconds: once, and only where they are not the platform's own.
  let secureContext: SecureContext | undefined;
  const context = (pem: string) => {
    secureContext ??= createSecureContext({ ca: [...getCACertificates("default"), pem] });
    return { secureContext };
  };
  let closed: buildConnector.connector | undefined;
  return (target, callback) => {
    if (insecureHosts.has(target.hostname, portOf(target))) return open(target, callback);
    const literal = target.hostname.replace(/^\[(.*)\]$/, "$1");
    const why = isIP(literal) === 0 ? undefined : guard.refusal(literal);
    if (why !== undefined) return callback(new AddressRefused(literal, why), null);
    closed ??= buildConnector({ ...common, lookup, ...(ca === undefined ? {} : context(ca)) });
    return closed(target, callback);
  };
}

function portOf({ protocol, port }: buildConnector.Options): number {
  return port === "" ? defaultPort(protocol) : Number(port);
}

/** Of `http:` or `https:`. */
export function defaultPort(protocol: string): number {
  return protocol === "https:" ? 443 : 80;
}

const lookupAll: LookupAll = (hostname, answer) => {
  dnsLookup(hostname, { all: true }, (error, addresses) => answer(error, addresses));
};

function guarded(find: LookupAll, guard: AddressGuard): LookupAll {
  return (hostname, answer) =>
    find(hostname, (error, addresses) => {
      if (error !== null) return answer(error, []);
      const checked = addresses.map(({ address, family }) => ({ address, family, why: guard.refusal(address) }));
      const passed = checked.filter(({ why }) => why === undefined);
      const [first] = checked;
      if (passed.length > 0 || first === undefined) return answer(null, passed);
      return answer(new AddressRefused(first.address, first.why ?? ""), []);
    });
}

/** The form in which `node:net` asks: for one address, or for all. */
function answering(find: LookupAll): LookupFunction {
  return (hostname, { all }, callback) =>
    find(hostname, (error, addresses) => {
      const [first] = addresses;
      const failure = error ?? (first === undefined ? new Error(`${hostname} has no address`) : null);
      if (failure !== null || first === undefined) return callback(failure, "");
      if (all === true) return callback(null, [...addresses]);
      return callback(null, first.address, first.family);
    });
}
