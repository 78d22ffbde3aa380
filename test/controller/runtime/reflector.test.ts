import type { ServerResponse } from "node:http";
import { expect } from "chai";
import type { Client, ListPage, WatchEvent } from "../../../controller/api/client.ts";
import { createHttpClient } from "../../../controller/runtime/http-client.ts";
import { HttpTransport } from "../../../controller/runtime/http-transport.ts";
import { keyFor, type ObjectKey } from "../../../controller/runtime/object-key.ts";
import { Reflector } from "../../../controller/runtime/reflector.ts";
import { answer, bookmark, FakeApi, type FakeRequest, fail, line, list, word, words } from "./fake-api.ts";
import { silentLogger, turn, until, VirtualTime } from "./fakes.ts";

const keyOf = (name: string) => keyFor({ namespace: "ns", name });

describe("the reflector", () => {
  let api: FakeApi;
  let time: VirtualTime;
  let transport: HttpTransport;
  let reflector: Reflector;
  let changes: ObjectKey[];
  /** What the server answers to the next list and watch requests; the last one is repeated. */
  let lists: ((request: FakeRequest, response: ServerResponse) => void)[];
  let watches: ((request: FakeRequest, response: ServerResponse) => void)[];
  let streams: ServerResponse[];

  const open = (...lines: string[]) => {
    return (_request: FakeRequest, response: ServerResponse) => {
      streams.push(response);
      response.write(bookmark(0) + lines.join(""));
    };
  };
  const listing = (names: readonly string[], version: number) => (_request: FakeRequest, response: ServerResponse) =>
    answer(
      response,
      200,
      list(
        names.map((name) => word(name, version - 1)),
        version,
      ),
    );
  const failing = (code: number, headers: Record<string, string> = {}) => {
    return (_request: FakeRequest, response: ServerResponse) => fail(response, code, "Trouble", headers);
  };
  const next = <T>(queue: T[]): T => {
    const first = queue.length > 1 ? queue.shift() : queue[0];
    if (first === undefined) throw new Error("nothing to answer");
    return first;
  };
  const isWatch = ({ url }: FakeRequest) => url.searchParams.has("watch");
  const asked = (kind: "list" | "watch") => api.requests.filter((request) => isWatch(request) === (kind === "watch"));
  const names = () => [...reflector.list()].map(({ metadata }) => metadata.name).sort();

  beforeEach(async () => {
    streams = [];
    changes = [];
    lists = [listing(["a", "b"], 10)];
    watches = [open()];
    api = await FakeApi.start((request, response) => next(isWatch(request) ? watches : lists)(request, response));
    time = new VirtualTime();
    transport = new HttpTransport({ config: api.config(), ports: time.ports });
    const client = createHttpClient({ transport, ports: time.ports, version: "0.0.0" });
    const indexers = { initial: ({ metadata }: { metadata: { name: string } }) => [metadata.name.slice(0, 1)] };
    reflector = new Reflector({ client, resource: words, ports: time.ports, logger: silentLogger, indexers });
    reflector.onChange((key) => void changes.push(key));
  });

  afterEach(async () => {
    await reflector[Symbol.asyncDispose]();
    await transport[Symbol.asyncDispose]();
    await api[Symbol.asyncDispose]();
    expect(time.delays, "timers left behind").to.deep.equal([]);
  });

  async function sync(): Promise<void> {
    reflector.start();
    await reflector.synced;
    await until(() => streams.length > 0);
  }

  it("lists page by page, then watches from there with bookmarks", async () => {
    lists = [
      (_request, response) => answer(response, 200, list([word("a", 9)], 10, "more")),
      (_request, response) => answer(response, 200, list([word("b", 9)], 10)),
    ];
    await sync();
    expect(names()).to.deep.equal(["a", "b"]);
    expect(changes).to.deep.equal(["ns/a", "ns/b"]);
    expect(asked("list")[1]?.url.searchParams.get("continue")).to.equal("more");
    const watch = asked("watch")[0]?.url.searchParams;
    expect(watch?.get("resourceVersion")).to.equal("10");
    expect(watch?.get("allowWatchBookmarks")).to.equal("true");
    expect(Number(watch?.get("timeoutSeconds"))).to.be.within(300, 600);
  });

  it("follows adds, changes and deletes, in the store, the indices and the handlers", async () => {
    await sync();
    changes.length = 0;
    streams[0]?.write(line("ADDED", word("ab", 11)) + line("MODIFIED", word("b", 12, { x: 1 })));
    streams[0]?.write(line("DELETED", word("a", 13)));
    await until(() => changes.length === 3);
    expect(changes).to.deep.equal(["ns/ab", "ns/b", "ns/a"]);
    expect([...reflector.byIndex("initial", "a")].map(({ metadata }) => metadata.name)).to.deep.equal(["ab"]);
    expect(reflector.get(keyOf("b"))).to.include({ x: 1 });
  });

  it("goes on from the last bookmark when the server ends the watch", async () => {
    await sync();
    streams[0]?.end(bookmark(50));
    await until(() => streams.length === 2);
    expect(asked("watch")[1]?.url.searchParams.get("resourceVersion")).to.equal("50");
    expect(asked("list")).to.have.length(1);
  });

  it("survives a cut connection and a half line without a new list", async () => {
    await sync();
    streams[0]?.write(line("ADDED", word("c", 20)));
    await until(() => reflector.get(keyOf("c")) !== undefined);
    streams[0]?.write('{"type":"MODIFIED","object":{"kin');
    await turn();
    api.cut();
    await time.scheduled((delayMs) => delayMs === 800);
    await time.advance(800);
    await until(() => streams.length === 2);
    expect(asked("watch")[1]?.url.searchParams.get("resourceVersion")).to.equal("20");
    expect(asked("list")).to.have.length(1);
    expect(names()).to.deep.equal(["a", "b", "c"]);
  });

  for (const [how, gone] of [
    ["as an answer", failing(410)],
    [
      "as an event",
      (_: FakeRequest, response: ServerResponse) =>
        void response.end(line("ERROR", { kind: "Status", code: 410, reason: "Expired", message: "too old" })),
    ],
  ] as const) {
    it(`lists anew at once after 410 Gone ${how}, and tells of deletions that it missed`, async () => {
      watches = [open(), gone, open()];
      await sync();
      changes.length = 0;
      lists = [listing(["b", "d"], 90)];
      streams[0]?.end(bookmark(11));
      await until(() => streams.length === 2);
      expect(names()).to.deep.equal(["b", "d"]);
      expect([...new Set(changes)].sort()).to.deep.equal(["ns/a", "ns/b", "ns/d"]);
      expect(asked("watch").at(-1)?.url.searchParams.get("resourceVersion")).to.equal("90");
    });
  }

  it("backs off with growing pauses while the watch fails, as Retry-After asks, and starts over once it works", async () => {
    watches = [failing(500), failing(500), failing(429, { "retry-after": "9" }), open()];
    reflector.start();
    await reflector.synced;
    for (const delay of [800, 1_600, 9_000]) {
      await time.scheduled((delayMs) => delayMs === delay);
      await time.advance(delay);
    }
    await until(() => streams.length === 1);
    watches = [failing(500), open()];
    streams[0]?.end(bookmark(12));
    await time.scheduled((delayMs) => delayMs === 800);
    await time.advance(800);
    await until(() => streams.length === 2);
  });

  it("waits for a server that is not up yet", async () => {
    lists = [failing(500), failing(500), failing(500), failing(500), failing(500), failing(500), listing(["a"], 10)];
    reflector.start();
    for (const delay of [100, 200, 400, 800, 1_600, 800]) {
      await time.scheduled((delayMs) => delayMs === delay);
      await time.advance(delay);
    }
    await reflector.synced;
    expect(names()).to.deep.equal(["a"]);
    await until(() => streams.length === 1);
  });

  it("begins a watch anew that has gone silent, and tells how long it heard nothing", async () => {
    await sync();
    await until(() => reflector.silentMs() === 0);
    await time.advance(149_000);
    expect(reflector.silentMs()).to.equal(149_000);
    streams[0]?.write(bookmark(11));
    await until(() => reflector.silentMs() === 0);
    await time.advance(149_000);
    expect(streams).to.have.length(1);
    await time.advance(1_000);
    await until(() => streams.length === 2);
    await until(() => reflector.silentMs() === 0);
    expect(asked("list")).to.have.length(1);
  });

  it("does not hammer a server that ends every watch at once", async () => {
    watches = [(_request, response) => void response.end()];
    reflector.start();
    for (const delay of [800, 1_600, 3_200]) {
      await time.scheduled((delayMs) => delayMs === delay);
      await time.advance(delay);
    }
    await time.scheduled((delayMs) => delayMs === 6_400);
    expect(asked("watch")).to.have.length(4);
  });

  describe("reading its own writes", () => {
    it("keeps them against older events, and takes newer ones", async () => {
      await sync();
      reflector.observe(word("a", 30, { x: "mine" }));
      expect(reflector.get(keyOf("a"))).to.include({ x: "mine" });
      streams[0]?.write(line("MODIFIED", word("a", 25, { x: "older" })) + line("ADDED", word("marker", 26)));
      await until(() => reflector.get(keyOf("marker")) !== undefined);
      expect(reflector.get(keyOf("a"))).to.include({ x: "mine" });
      streams[0]?.write(
        line("MODIFIED", word("a", 30, { x: "mine" })) + line("MODIFIED", word("a", 31, { x: "newer" })),
      );
      await until(() => reflector.get(keyOf("a"))?.metadata.resourceVersion === "31");
      expect(reflector.get(keyOf("a"))).to.include({ x: "newer" });
    });

    it("does not bring back what the watch already saw deleted", async () => {
      await sync();
      streams[0]?.write(line("ADDED", word("c", 20)) + line("DELETED", word("c", 21)) + line("ADDED", word("d", 22)));
      await until(() => reflector.get(keyOf("d")) !== undefined);
      reflector.observe(word("c", 20));
      expect(reflector.get(keyOf("c"))).to.equal(undefined);
    });

    it("keeps an object made anew against the deletion of its namesake", async () => {
      await sync();
      reflector.observe(word("a", 40, { x: "second" }));
      streams[0]?.write(line("DELETED", word("a", 39)) + line("ADDED", word("marker", 41)));
      await until(() => reflector.get(keyOf("marker")) !== undefined);
      expect(reflector.get(keyOf("a"))).to.include({ x: "second" });
    });

    it("keeps one that is newer than a list under way", async () => {
      const listed = Promise.withResolvers<ServerResponse>();
      lists = [(_request, response) => listed.resolve(response)];
      reflector.start();
      const response = await listed.promise;
      reflector.observe(word("c", 12));
      answer(response, 200, list([word("a", 9)], 10));
      await reflector.synced;
      expect(names()).to.deep.equal(["a", "c"]);
      await until(() => streams.length === 1);
    });
  });

  it("hears nothing of a run that was stopped, however late it answers", async () => {
    const late = Promise.withResolvers<ServerResponse>();
    lists = [(_request, response) => late.resolve(response), listing(["new"], 20)];
    reflector.start();
    const response = await late.promise;
    const stopped = reflector.stop();
    reflector.start();
    answer(response, 200, list([word("old", 9)], 10));
    await stopped;
    await reflector.synced;
    await until(() => streams.length === 1);
    expect(names()).to.deep.equal(["new"]);
    expect(() => reflector.start()).to.throw("runs already");
  });

  it("takes nothing from a client that answers although it was told to stop", async () => {
    const answers: ((page: ListPage) => void)[] = [];
    const client = {
      list: () => new Promise<ListPage>((resolve) => void answers.push(resolve)),
      watch: (_resource: unknown, _options: unknown, signal: AbortSignal) => quiet(signal),
    } as unknown as Client;
    const stubborn = new Reflector({ client, resource: words, ports: time.ports, logger: silentLogger });
    stubborn.start();
    const stopped = stubborn.stop();
    stubborn.start();
    answers[1]?.({ items: [word("new", 19)], resourceVersion: "20" });
    await stubborn.synced;
    answers[0]?.({ items: [word("old", 9)], resourceVersion: "30" });
    await stopped;
    expect([...stubborn.list()].map(({ metadata }) => metadata.name)).to.deep.equal(["new"]);
    await stubborn[Symbol.asyncDispose]();
  });

  it("lets go of who waits for it to be synced when it is closed before", async () => {
    lists = [() => {}];
    reflector.start();
    const waiting = reflector.synced.catch((error: Error) => error.message);
    await reflector[Symbol.asyncDispose]();
    expect(await waiting).to.include("stopped before it was synced");
  });

  it("hands out every key again now and then", async () => {
    await sync();
    changes.length = 0;
    streams[0]?.on("error", () => {});
    await time.advance(10 * 60 * 60 * 1000);
    expect([...new Set(changes)]).to.include.members(["ns/a", "ns/b"]);
  });
});

/** A watch without events. */
async function* quiet(signal: AbortSignal): AsyncGenerator<WatchEvent> {
  await new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
  yield* [];
}
