import { BlockList, SocketAddress } from "node:net";
import { expect } from "chai";
import fc from "fast-check";
import { AddressGuard } from "../../backends/addresses.ts";
import { MillraceError } from "../../engine/errors.ts";

describe("the guard of addresses", () => {
  const guard = new AddressGuard();

  for (const address of [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:82a::200e",
    "::ffff:8.8.8.8",
    "::ffff:808:808",
    "64:ff9b::8.8.8.8",
  ]) {
    it(`lets ${address} pass`, () => {
      expect(guard.refusal(address)).to.equal(undefined);
    });
  }

  const refused: readonly (readonly [address: string, why: string])[] = [
    ["0.0.0.0", "unspecified"],
    ["0.1.2.3", "unspecified"],
    ["10.0.0.1", "private"],
    ["10.255.255.255", "private"],
    ["100.64.0.1", "shared"],
    ["100.100.100.200", "shared"],
    ["127.0.0.1", "loopback"],
    ["127.255.255.254", "loopback"],
    ["169.254.169.254", "link-local"],
    ["168.63.129.16", "cloud"],
    ["172.16.0.1", "private"],
    ["172.31.255.255", "private"],
    ["192.168.1.1", "private"],
    ["198.18.0.1", "benchmarks"],
    ["203.0.113.9", "documentation"],
    ["224.0.0.1", "multicast"],
    ["255.255.255.255", "reserved"],
    ["::", "unspecified"],
    ["::1", "loopback"],
    ["0:0:0:0:0:0:0:1", "loopback"],
    ["::127.0.0.1", "reserved"],
    ["::ffff:127.0.0.1", "loopback"],
    ["::ffff:7f00:1", "loopback"],
    ["0:0:0:0:0:ffff:10.1.2.3", "private"],
    ["::ffff:a9fe:a9fe", "link-local"],
    ["64:ff9b::10.0.0.1", "private"],
    ["64:ff9b::a9fe:a9fe", "link-local"],
    ["64:ff9b:1::1", "translation"],
    ["2001:0:4136:e378:8000:63bf:3fff:fdd2", "tunnels"],
    ["2001:db8::1", "documentation"],
    ["2002:7f00:1::", "6to4"],
    ["4000::1", "reserved"],
    ["fc00::1", "private"],
    ["fd00:ec2::254", "private"],
    ["fe80::1", "link-local"],
    ["fe80::1%eth0", "link-local"],
    ["febf::1", "link-local"],
    ["fec0::1", "reserved"],
    ["ff02::1", "multicast"],
    ["localhost", "no IP address"],
    ["127.1", "no IP address"],
    ["", "no IP address"],
  ];
  for (const [address, why] of refused) {
    it(`refuses ${JSON.stringify(address)}: ${why}`, () => {
      expect(guard.refusal(address)).to.include(why);
    });
  }

  it("lets ranges pass that an administrator allows, also in their IPv6 forms, and nothing beside them", () => {
    const allowing = new AddressGuard(["10.1.0.0/16", "127.0.0.1", "fd00:1::/32", "100.64.0.0/31"]);
    for (const address of ["10.1.2.3", "::ffff:10.1.255.255", "127.0.0.1", "fd00:1:ffff::1", "100.64.0.1", "8.8.8.8"]) {
      expect(allowing.refusal(address), address).to.equal(undefined);
    }
    for (const address of ["10.2.0.0", "10.0.255.255", "127.0.0.2", "fd00:2::1", "100.64.0.2", "::1"]) {
      expect(allowing.refusal(address), address).to.be.a("string");
    }
    expect(new AddressGuard(["::ffff:0:0/96"]).refusal("::ffff:10.0.0.1")).to.equal(undefined);
    expect(new AddressGuard(["0.0.0.0/0"]).refusal("::ffff:127.0.0.1")).to.equal(undefined);
    expect(new AddressGuard(["0.0.0.0/0"]).refusal("::1")).to.include("loopback");
  });

  for (const cidr of [
    "",
    "10.0.0.0/33",
    "::/129",
    "10.0.0/8",
    "10.0.0.0/8/8",
    "10.0.0.0/",
    "a.b.c.d/8",
    "10.0.0.0/-1",
  ]) {
    it(`takes no ${JSON.stringify(cidr)} as a range`, () => {
      expect(() => new AddressGuard([cidr]))
        .to.throw(MillraceError, JSON.stringify(cidr))
        .with.property("code", "InvalidInput");
    });
  }

  it("reads ranges and addresses as the platform does", () => {
    const network = fc.tuple(fc.ipV6(), fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 128 })));
    fc.assert(
      fc.property(network, fc.option(fc.ipV6()), ([network, bits], other) => {
        const address = other ?? network;
        const platform = new BlockList();
        platform.addSubnet(network, bits, "ipv6");
        const allows = new AddressGuard([`${network}/${bits}`]).refusal(address) === undefined;
        const isPublic = guard.refusal(address) === undefined;
        const written = new SocketAddress({ address, family: "ipv6" }).address;
        expect(guard.refusal(written) === undefined).to.equal(isPublic);
        expect(allows).to.equal(platform.check(address, "ipv6") || isPublic);
      }),
      { numRuns: 300 },
    );
  });
});
