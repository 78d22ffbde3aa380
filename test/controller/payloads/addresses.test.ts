import { expect } from "chai";
import { advertisedUrl, refusalOfServer } from "../../../controller/payloads/addresses.ts";
import { RemotePayloads } from "../../../controller/payloads/remote.ts";
import { systemPorts } from "../../../engine/clock.ts";

describe("the address in the Lease", () => {
  for (const [title, url, isInPod, given, expected] of [
    ["is where the endpoint listens", "https://10.0.0.7:8443", true, undefined, "https://10.0.0.7:8443"],
    ["is loopback on a laptop", "http://127.0.0.1:8082", false, undefined, "http://127.0.0.1:8082"],
    ["is no pod's loopback", "http://127.0.0.1:8082", true, undefined, undefined],
    ["is no pod's loopback of IPv6", "http://[::1]:8082", true, undefined, undefined],
    ["is not that of no machine in a pod", "https://0.0.0.0:8443", true, undefined, undefined],
    ["is not that of no machine elsewhere", "https://0.0.0.0:8443", false, undefined, undefined],
    ["is not that of no machine with IPv6", "https://[::]:8443", false, undefined, undefined],
    ["is what the operator says", "https://0.0.0.0:8443", true, "https://millrace.example", "https://millrace.example"],
  ] as const) {
    it(title, () => {
      expect(advertisedUrl({ url, isInPod, given })).to.equal(expected);
    });
  }
});

describe("a URL to which a token is sent", () => {
  for (const server of [
    "https://millrace.example",
    "https://10.0.0.7:8443/",
    "http://127.0.0.1:8082",
    "http://localhost:8082",
    "http://[::1]:8082",
  ]) {
    it(`may be ${server}`, () => {
      expect(refusalOfServer(server)).to.equal(undefined);
    });
  }

  for (const [server, why] of [
    ["http://10.0.0.7:8082", "in the clear"],
    ["http://0.0.0.0:8082", "in the clear"],
    ["http://127.0.0.1.example:8082", "in the clear"],
    ["http://localhost@millrace.example", "in the clear"],
    ["https://millrace.example/somewhere", "without a path"],
    ["ftp://127.0.0.1", "not a URL such as"],
    ["127.0.0.1:8082", "not a URL such as"],
  ] as const) {
    it(`may not be ${server}`, () => {
      expect(refusalOfServer(server)).to.contain(why);
      expect(() => new RemotePayloads({ server, token: "secret", scheduler: systemPorts.scheduler })).to.throw(why);
    });
  }
});
