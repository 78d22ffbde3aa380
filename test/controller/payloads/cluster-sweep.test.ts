import { expect } from "chai";
import type { Client, KubernetesObject, ListOptions } from "../../../controller/api/client.ts";
import { type PayloadSweepOptions, sweepPayloads } from "../../../controller/payloads/cluster-sweep.ts";
import type { NamespaceUids } from "../../../controller/payloads/namespaces.ts";
import type { PayloadStore, StoredPayload } from "../../../controller/payloads/store.ts";
import type { Logger } from "../../../controller/runtime/logger.ts";
import { VirtualTime } from "../../support/virtual-time.ts";

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const never = new AbortController().signal;
const digest = (letter: string) => `sha256:${letter.repeat(64)}`;

/** An Execution that names a payload in a row. */
function execution(namespace: string, ref: string): KubernetesObject {
  const steps = [{ name: "a", output: { payload: { ref, bytes: 5_000 } } }];
  return { apiVersion: "", kind: "Execution", metadata: { name: `run-${ref.at(-1)}`, namespace }, status: { steps } };
}

describe("the sweep of payloads", () => {
  let time: VirtualTime;
  let stored: Map<string, Set<string>>;
  let touchedAt: number;
  let objects: KubernetesObject[];

  const options = (namespaces: readonly string[]): PayloadSweepOptions => {
    const list = async (_: unknown, { namespace, continue: at }: ListOptions) => {
      const found = objects.filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace);
      const index = Number(at ?? 0);
      const more = index + 1 < found.length ? { continue: String(index + 1) } : {};
      return { items: found.slice(index, index + 1), resourceVersion: "1", ...more };
    };
    const store = {
      async *namespaces() {
        yield* stored.keys();
      },
      async *list(uid: string): AsyncGenerator<StoredPayload> {
        for (const known of stored.get(uid) ?? []) yield { digest: known, bytes: 1, touchedAt };
      },
      delete: async (uid: string, gone: string) => stored.get(uid)?.delete(gone) ?? false,
    } as unknown as PayloadStore;
    const uids = { uidOf: async (namespace: string) => `uid-${namespace}` } as unknown as NamespaceUids;
    return { client: { list } as unknown as Client, ports: time, logger: silent, store, uids, namespaces };
  };

  beforeEach(async () => {
    time = new VirtualTime();
    touchedAt = time.clock.now();
    stored = new Map([
      ["uid-team", new Set([digest("a"), digest("b"), digest("c")])],
      ["uid-else", new Set([digest("d")])],
    ]);
    objects = [execution("team", digest("a")), execution("team", digest("b"))];
    await time.advance(2 * 3_600_000);
  });

  it("deletes what no Execution names, and what lies in a namespace without Executions", async () => {
    await sweepPayloads(options([]), never);
    expect([...(stored.get("uid-team") ?? [])]).to.deep.equal([digest("a"), digest("b")]);
    expect([...(stored.get("uid-else") ?? [])]).to.deep.equal([]);
  });

  it("deletes nothing that was touched within the hour", async () => {
    touchedAt = time.clock.now() - 3_000_000;
    await sweepPayloads(options([]), never);
    expect(stored.get("uid-team")?.size).to.equal(3);
  });

  it("touches nothing of namespaces that it does not work in", async () => {
    await sweepPayloads(options(["team"]), never);
    expect(stored.get("uid-team")?.size).to.equal(2);
    expect(stored.get("uid-else")?.size).to.equal(1);
  });
});
