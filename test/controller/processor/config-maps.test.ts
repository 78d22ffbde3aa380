import { expect } from "chai";
import { ApiError, type Client } from "../../../controller/api/client.ts";
import { configMapKeyReader } from "../../../controller/processor/config-map-key.ts";
import { ConfigMapVersions } from "../../../controller/processor/config-maps.ts";
import type { Logger } from "../../../controller/runtime/logger.ts";
import { noMetrics } from "../../../controller/runtime/metrics.ts";
import type { ObjectKey } from "../../../controller/runtime/object-key.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { VirtualTime } from "../../support/virtual-time.ts";
import { FakeServer } from "./fake-server.ts";

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const never = new AbortController().signal;

describe("the ConfigMaps that Processors name", () => {
  let time: VirtualTime;
  let server: FakeServer;
  let changed: ObjectKey[];
  let versions: ConfigMapVersions;
  const ask = (processor: string, name: string) =>
    time.drive(versions.versionFor(`team/${processor}`, { namespace: "team", name }, never));

  beforeEach(() => {
    time = new VirtualTime();
    server = new FakeServer();
    changed = [];
    versions = new ConfigMapVersions({
      client: server.client,
      ports: time,
      logger: silent,
      metrics: noMetrics,
      maxWatches: 2,
      onChange: (processors) => changed.push(...processors),
    });
  });
  afterEach(() => versions[Symbol.asyncDispose]());

  it("have a version, which is another one after a change that is told to those who name them", async () => {
    server.put("m", "5");
    expect(await ask("a", "m")).to.deep.equal({ version: "uid-m/5", watched: true });
    expect((await ask("b", "m")).version).to.equal("uid-m/5");
    await time.advance(0);
    changed.length = 0;
    server.put("m", "6");
    await time.advance(0);
    expect(changed).to.have.members(["team/a", "team/b"]);
    expect((await ask("a", "m")).version).to.equal("uid-m/6");
    expect([server.watched, server.gets]).to.deep.equal([["m"], 0]);
  });

  it("are told to be absent, and heard of when they appear", async () => {
    expect(await ask("a", "m")).to.deep.equal({ version: "absent", watched: true });
    await time.advance(0);
    server.put("m", "7");
    await time.advance(0);
    expect(changed).to.deep.equal(["team/a"]);
  });

  it("are watched as long as a Processor names them, and no longer", async () => {
    await ask("a", "m");
    await ask("b", "m");
    versions.release("team/a");
    await time.advance(0);
    expect(server.watched).to.deep.equal(["m"]);
    await ask("b", "n");
    await time.advance(0);
    expect(server.watched).to.deep.equal(["n"]);
    versions.release("team/b");
    await time.advance(0);
    expect([versions.size, server.watched]).to.deep.equal([0, []]);
  });

  it("are asked for, each time, beyond the number that is watched", async () => {
    server.put("o", "9");
    await ask("a", "m");
    await ask("b", "n");
    expect(await ask("c", "o")).to.deep.equal({ version: "uid-o/9", watched: false });
    server.put("o", "10");
    expect((await ask("c", "o")).version).to.equal("uid-o/10");
    expect([versions.size, server.gets]).to.deep.equal([2, 2]);
    expect(await ask("c", "none")).to.deep.equal({ version: "absent", watched: false });
  });
});

describe("a key of a ConfigMap", () => {
  const server = new FakeServer();
  const read = configMapKeyReader(server.client);
  const code = (name: string, key: string) =>
    read("team", name, key, never).then(
      () => "read",
      (error: MillraceError) => error.code,
    );

  it("is read from binaryData, or else from data", async () => {
    server.put("m", "1", { binaryData: { a: "AQI=" }, data: { a: "text", b: "ü" } });
    expect([...(await read("team", "m", "a", never))]).to.deep.equal([1, 2]);
    expect(Buffer.from(await read("team", "m", "b", never)).toString()).to.equal("ü");
  });

  it("is NotFound where it is not, or where the ConfigMap is not, and never a key of Object.prototype", async () => {
    expect([await code("m", "c"), await code("none", "a"), await code("m", "constructor")]).to.deep.equal([
      "NotFound",
      "NotFound",
      "NotFound",
    ]);
  });

  it("is Unavailable where the API server refuses", async () => {
    const refusing = {
      get: () => Promise.reject(new ApiError({ code: 403, reason: "Forbidden", message: "no" })),
    } as unknown as Client;
    const error = await configMapKeyReader(refusing)("team", "m", "a", never).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(MillraceError).with.property("code", "Unavailable");
  });
});
