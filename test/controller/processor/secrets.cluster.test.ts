import { expect } from "chai";
import type { Client } from "../../../controller/api/client.ts";
import { secrets as secretKind } from "../../../controller/api/kinds.ts";
import type { NamedSecret } from "../../../controller/processor/secret-refs.ts";
import { ProcessorSecrets } from "../../../controller/processor/secrets.ts";
import { createHttpClient } from "../../../controller/runtime/http-client.ts";
import { HttpTransport } from "../../../controller/runtime/http-transport.ts";
import { loadKubeConfig } from "../../../controller/runtime/kube-config.ts";
import { noMetrics } from "../../../controller/runtime/metrics.ts";
import type { ObjectKey } from "../../../controller/runtime/object-key.ts";
import { systemPorts } from "../../../engine/clock.ts";
import type { MillraceError } from "../../../engine/errors.ts";
import type { JsonObject } from "../../../engine/payload.ts";
import { useCluster } from "../../cluster/cluster.ts";
import { silentLogger } from "../runtime/fakes.ts";

const signal = new AbortController().signal;
const refs: readonly NamedSecret[] = [
  { name: "token", secretKeyRef: { name: "api", key: "key" }, field: "spec.secrets[0].secretKeyRef" },
];

describe("the Secrets of Processors on a real API server", function () {
  this.timeout(60_000);
  const cluster = useCluster();
  let transport: HttpTransport;
  let client: Client;
  let namespace: string;
  let processor: ObjectKey;
  let heard: PromiseWithResolvers<void>;

  before(() => {
    const config = loadKubeConfig({}, { kubeconfig: cluster.kubeconfig });
    transport = new HttpTransport({ config, ports: systemPorts });
    client = createHttpClient({ transport, ports: systemPorts, version: "0.0.0", onCall: () => undefined });
  });
  beforeEach(async () => {
    namespace = await cluster.createNamespace();
    processor = `${namespace}/words`;
    heard = Promise.withResolvers();
  });
  after(() => transport?.[Symbol.asyncDispose]());

  function open(maxWatches?: number): ProcessorSecrets {
    const onChange = (processors: Iterable<ObjectKey>) => {
      if ([...processors].includes(processor)) heard.resolve();
    };
    const watches = maxWatches === undefined ? {} : { maxWatches };
    return new ProcessorSecrets({
      client,
      ports: systemPorts,
      logger: silentLogger,
      metrics: noMetrics,
      onChange,
      ...watches,
    });
  }

  function secret(key: string): JsonObject {
    return { apiVersion: "v1", kind: "Secret", metadata: { name: "api", namespace }, stringData: { key } };
  }

  function rotate(key: string): Promise<unknown> {
    const ref = { namespace, name: "api" };
    return client.patch(secretKind, ref, { type: "Merge", body: { stringData: { key } } }, undefined, signal);
  }

  /** The value, or the code of what is thrown. */
  function token(secrets: ProcessorSecrets): string | undefined {
    try {
      return secrets.current(processor, refs).values.token;
    } catch (error) {
      return (error as MillraceError).code;
    }
  }

  async function next(act: () => Promise<unknown>): Promise<void> {
    heard = Promise.withResolvers();
    await act();
    await heard.promise;
  }

  it("are heard of when they appear, change and go, with nothing asked again", async () => {
    await using secrets = open();
    expect(await secrets.follow(processor, ["api"], signal)).to.equal(true);
    expect(token(secrets)).to.equal("Unavailable");
    await next(() => client.create(secretKind, secret("first"), { namespace }, signal));
    expect(token(secrets)).to.equal("first");
    await next(() => rotate("second"));
    expect(token(secrets)).to.equal("second");
    await next(() => client.delete(secretKind, { namespace, name: "api" }, {}, signal));
    expect(token(secrets)).to.equal("Unavailable");
  });

  it("are asked for anew each time that they are followed, where they are too many to watch", async () => {
    await using secrets = open(0);
    await client.create(secretKind, secret("first"), { namespace }, signal);
    expect(await secrets.follow(processor, ["api"], signal)).to.equal(false);
    expect(token(secrets)).to.equal("first");
    await rotate("second");
    expect(token(secrets)).to.equal("first");
    await secrets.follow(processor, ["api"], signal);
    expect(token(secrets)).to.equal("second");
  });

  it("stay as they were last for what still uses them when they are followed no longer", async () => {
    await using secrets = open();
    await client.create(secretKind, secret("first"), { namespace }, signal);
    await secrets.follow(processor, ["api"], signal);
    expect(token(secrets)).to.equal("first");
    await secrets.follow(processor, [], signal);
    expect(token(secrets)).to.equal("first");
  });
});
