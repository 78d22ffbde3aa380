import { isIPv4, isIPv6 } from "node:net";
import { MillraceError } from "../engine/errors.ts";

/** A range of IP addresses: all that share the first `prefixBits` of `bytes`. */
interface Network {
  /** 4 of IPv4, 16 of IPv6. */
  readonly bytes: Uint8Array;
  readonly prefixBits: number;
}

/** Ranges that are nobody's on the internet, or that lead into this machine, this cluster or its cloud; with what they are called. */
const closedRanges: readonly (readonly [cidr: string, name: string])[] = [
  ["0.0.0.0/8", "an unspecified address"],
  ["10.0.0.0/8", "a private address"],
  ["100.64.0.0/10", "a shared address of carriers and clusters"],
  ["127.0.0.0/8", "a loopback address"],
  // 169.254.169.254 and its kin hand out a node's credentials.
  ["169.254.0.0/16", "a link-local address, as clouds' metadata services have"],
  ["172.16.0.0/12", "a private address"],
  ["192.0.0.0/24", "an address of protocols' own"],
  ["192.0.2.0/24", "an address for documentation"],
  ["192.88.99.0/24", "an address of 6to4 relays"],
  ["192.168.0.0/16", "a private address"],
  ["198.18.0.0/15", "an address for benchmarks"],
  ["198.51.100.0/24", "an address for documentation"],
  ["203.0.113.0/24", "an address for documentation"],
  ["224.0.0.0/4", "a multicast address"],
  ["240.0.0.0/4", "a reserved address"],
  // Within the public ranges, but each virtual machine of Azure reaches its host by it.
  ["168.63.129.16/32", "the address of a cloud's own services"],
  ["::/128", "an unspecified address"],
  ["::1/128", "a loopback address"],
  ["64:ff9b:1::/48", "an address of private translation to IPv4"],
  ["2001::/23", "an address of tunnels and protocols' own"],
  ["2001:db8::/32", "an address for documentation"],
  ["2002::/16", "an address of 6to4 tunnels"],
  ["3fff::/20", "an address for documentation"],
  ["fc00::/7", "a private address"],
  ["fe80::/10", "a link-local address"],
  ["ff00::/8", "a multicast address"],
];

/** All of IPv6 that is given out to the internet: what is outside of it is reserved. */
const globalUnicast = "2000::/3";

/** IPv6 addresses whose last four bytes are an IPv4 address, which is what they lead to: mapped ones, and those of NAT64. */
const embeddings: readonly string[] = ["::ffff:0:0/96", "64:ff9b::/96"];

/**
 * Tells addresses that anybody on the internet may reach from those that lead inside: loopback, private, link-local, shared,
 * reserved and the like, also where an IPv6 address only carries such an IPv4 one.
 */
export class AddressGuard {
  readonly #allowed: readonly Network[];
  readonly #closed: readonly (readonly [Network, string])[];
  readonly #embeddings: readonly Network[];
  readonly #globalUnicast: Network;

  /**
   * @param allowed ranges besides the public ones, as `10.1.0.0/16`, `fd00::/8` or a single address
   * @throws InvalidInput for what is none
   */
  constructor(allowed: readonly string[] = []) {
    this.#allowed = allowed.map(parseNetwork);
    this.#closed = closedRanges.map(([cidr, name]) => [parseNetwork(cidr), name]);
    this.#embeddings = embeddings.map(parseNetwork);
    this.#globalUnicast = parseNetwork(globalUnicast);
  }

  /**
   * Why nothing may connect to `address`, as "a private address"; undefined when it may. An IPv6 address may have a zone.
   * What is no address is refused too.
   */
  refusal(address: string): string | undefined {
    const bytes = bytesOf(address.replace(/%.*$/, ""));
    if (bytes === undefined) return "no IP address";
    const meant = this.#embedded(bytes) ?? bytes;
    if (this.#allowed.some((network) => contains(network, meant) || contains(network, bytes))) return undefined;
    const closed = this.#closed.find(([network]) => contains(network, meant));
    if (closed !== undefined) return closed[1];
    return meant.byteLength === 4 || contains(this.#globalUnicast, meant) ? undefined : "a reserved address";
  }

  #embedded(bytes: Uint8Array): Uint8Array | undefined {
    return this.#embeddings.some((network) => contains(network, bytes)) ? bytes.subarray(12) : undefined;
  }
}

function parseNetwork(cidr: string): Network {
  const [address = "", prefix, ...rest] = cidr.split("/");
  const bytes = bytesOf(address);
  const bits = (bytes?.byteLength ?? 0) * 8;
  const prefixBits = prefix === undefined ? bits : Number(prefix);
  if (bytes === undefined || rest.length > 0 || !/^\d{1,3}$/.test(prefix ?? "0") || prefixBits > bits) {
    throw new MillraceError(
      "InvalidInput",
      `${JSON.stringify(cidr)} is no range of IP addresses. Write it as 10.1.0.0/16, fd00::/8 or a single address.`,
    );
  }
  return { bytes, prefixBits };
}

function contains({ bytes, prefixBits }: Network, address: Uint8Array): boolean {
  if (bytes.byteLength !== address.byteLength) return false;
  return bytes.every((byte, index) => {
    const bits = Math.min(Math.max(prefixBits - index * 8, 0), 8);
    const mask = (0xff << (8 - bits)) & 0xff;
    return (byte & mask) === ((address[index] ?? 0) & mask);
  });
}

/** 4 bytes of an IPv4 address, 16 of an IPv6 one. */
function bytesOf(address: string): Uint8Array | undefined {
  if (isIPv4(address)) return Uint8Array.from(address.split("."), Number);
  if (!isIPv6(address)) return undefined;
  // `::ffff:1.2.3.4`: its end as two groups like the others.
  const dotted = /[\d.]+$/.exec(address)?.[0] ?? "";
  const text = isIPv4(dotted) ? `${address.slice(0, -dotted.length)}${groupsOfIPv4(dotted)}` : address;
  const [head = "", tail] = text.split("::");
  const before = groups(head);
  const after = groups(tail ?? "");
  const zeros = tail === undefined ? 0 : 8 - before.length - after.length;
  return Uint8Array.from([...before, ...Array<number>(zeros).fill(0), ...after].flatMap((g) => [g >> 8, g & 0xff]));
}

function groups(text: string): number[] {
  return text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
}

function groupsOfIPv4(address: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = address.split(".").map(Number);
  return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
}
