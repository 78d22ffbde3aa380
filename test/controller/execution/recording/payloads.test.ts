import { expect } from "chai";
import { ApiError, type Client } from "../../../../controller/api/client.ts";
import { RunPayloads } from "../../../../controller/execution/recording/payloads.ts";
import { NamespaceUids } from "../../../../controller/payloads/namespaces.ts";
import { BytesPayload } from "../../../../engine/payload.ts";
import { namespaceUid, never, temporaryStore } from "../../payloads/store-folder.ts";
import { VirtualTime } from "../../runtime/fakes.ts";

const large = (fill: number) => new BytesPayload(new Uint8Array(5_000).fill(fill), "a/b");

describe("the payloads of a run", () => {
  it("go under the namespace that the run began in, also while the API server is away", async () => {
    await using folder = await temporaryStore();
    const time = new VirtualTime();
    let isAway = false;
    const get = async () => {
      if (isAway) throw new ApiError({ code: 0, reason: "Unreachable", message: "connection refused" });
      return { metadata: { name: "team", uid: namespaceUid } };
    };
    const namespaces = new NamespaceUids({ get } as unknown as Client, time.ports.clock);
    const payloads = new RunPayloads(folder.store, namespaces, "team");
    const first = await payloads.keep(large(1), never);
    isAway = true;
    await time.advance(60_000);
    const second = await payloads.keep(large(2), never);
    for (const { digest } of [first, second]) {
      expect(await folder.store.stat(namespaceUid, digest, never)).to.equal(5_000);
    }
  });
});
