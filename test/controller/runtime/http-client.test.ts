import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import type { ApiError, Client, WatchEvent } from "../../../controller/api/client.ts";
import { parseRetryAfter } from "../../../controller/runtime/api-errors.ts";
import { type ApiCall, createHttpClient } from "../../../controller/runtime/http-client.ts";
import { HttpTransport } from "../../../controller/runtime/http-transport.ts";
import { linesOf } from "../../../controller/runtime/watch-lines.ts";
import { answer, bookmark, FakeApi, type FakeHandler, fail, line, list, word, words } from "./fake-api.ts";
import { until, VirtualTime } from "./fakes.ts";

describe("the HTTP client", () => {
  const signal = new AbortController().signal;
  const ref = { namespace: "ns", name: "a" };
  const merge = { type: "Merge", body: { data: "x" } } as const;
  let api: FakeApi;
  let time: VirtualTime;
  let transport: HttpTransport;
  let client: Client;
  let calls: ApiCall[];

  async function start(handler: FakeHandler, user: Readonly<Record<string, unknown>> = {}): Promise<void> {
    api = await FakeApi.start(handler);
    time = new VirtualTime();
    calls = [];
    transport = new HttpTransport({ config: api.config(user), ports: time.ports });
    const onCall = (call: ApiCall) => void calls.push(call);
    client = createHttpClient({ transport, ports: time.ports, version: "1.2.3", onCall });
  }

  afterEach(async () => {
    await transport[Symbol.asyncDispose]();
    await api[Symbol.asyncDispose]();
    expect(time.delays, "timers left behind").to.deep.equal([]);
  });

  const caught = (promise: Promise<unknown>) =>
    promise.then(
      () => {
        throw new Error("it was expected to fail");
      },
      (error: ApiError) => error,
    );

  /** Answers with these codes in turn, then with 200. */
  function failing(codes: readonly number[], headers: Record<string, string> = {}): FakeHandler {
    const left = [...codes];
    return (_request, response) => {
      const code = left.shift();
      if (code === undefined) answer(response, 200, word("a", 1));
      else fail(response, code, "Trouble", headers);
    };
  }

  it("says who it is, what it sends, and asks for pages of 500", async () => {
    await start((_request, response) => answer(response, 200, list([], 1)));
    await client.list(words, { namespace: "ns", labelSelector: "a=b" }, signal);
    await client.patch(words, ref, merge, "status", signal);
    await client.patch(words, ref, { type: "Json", body: [] }, undefined, signal);
    const apply = { type: "Apply", body: {}, fieldManager: "me", force: true } as const;
    await client.patch(words, ref, apply, undefined, signal);
    const root = "/apis/test.dev/v1/namespaces/ns/words";
    expect(api.requests.map(({ url }) => url.pathname + url.search)).to.deep.equal([
      `${root}?labelSelector=a%3Db&limit=500`,
      `${root}/a/status`,
      `${root}/a`,
      `${root}/a?fieldManager=me&force=true`,
    ]);
    expect(api.requests.map(({ headers }) => headers["content-type"])).to.deep.equal([
      undefined,
      "application/merge-patch+json",
      "application/json-patch+json",
      "application/apply-patch+yaml",
    ]);
    expect(api.requests[0]?.headers["user-agent"]).to.equal("millrace/1.2.3");
  });

  for (const code of [429, 500, 503]) {
    it(`reads again after ${code}, with growing pauses`, async () => {
      await start(failing([code, code]));
      const read = client.get(words, ref, signal);
      await time.scheduled((delayMs) => delayMs === 100);
      await time.advance(100);
      await time.scheduled((delayMs) => delayMs === 200);
      await time.advance(200);
      expect((await read).metadata.name).to.equal("a");
      expect(calls.map((call) => call.code)).to.deep.equal([code, code, 200]);
    });
  }

  it("waits as long as Retry-After says", async () => {
    await start(failing([429], { "retry-after": "7" }));
    const read = client.get(words, ref, signal);
    await time.scheduled((delayMs) => delayMs === 7_000);
    await time.advance(6_999);
    expect(api.requests).to.have.length(1);
    await time.advance(1);
    await read;
  });

  it("gives up reading after six tries, with the server's last word", async () => {
    await start(failing([500, 500, 500, 500, 500, 503]));
    const error = caught(client.get(words, ref, signal));
    for (const delay of [100, 200, 400, 800, 1_600]) {
      await time.scheduled((delayMs) => delayMs === delay);
      await time.advance(delay);
    }
    expect((await error).status).to.include({ code: 503, reason: "Trouble" });
    expect(api.requests).to.have.length(6);
  });

  it("writes again after 429 only: anything else may have been done", async () => {
    await start(failing([429]));
    const written = client.patch(words, ref, merge, undefined, signal);
    await time.scheduled((delayMs) => delayMs === 100);
    await time.advance(100);
    await written;
    for (const code of [500, 503, 409, 422]) {
      api.handler = failing([code]);
      api.requests.length = 0;
      const writes = [
        () => client.create(words, {}, { namespace: "ns" }, signal),
        () => client.update(words, word("a", 1), undefined, signal),
        () => client.patch(words, ref, merge, undefined, signal),
        () => client.delete(words, ref, {}, signal),
      ];
      for (const [index, write] of writes.entries()) {
        api.handler = failing([code]);
        expect((await caught(write())).status.code).to.equal(code);
        expect(api.requests).to.have.length(index + 1);
      }
    }
  });

  it("tells a dropped connection, a refused one and silence apart from an answer", async () => {
    await start((_request, response) => void response.destroy());
    const dropped = await caught(client.patch(words, ref, merge, undefined, signal));
    expect(dropped.status).to.include({ code: 0, reason: "Unreachable" });
    expect(dropped.message).to.include(api.server);
    api.handler = () => {};
    const silent = caught(client.patch(words, ref, merge, undefined, signal));
    await until(() => api.requests.length === 2);
    await time.advance(30_000);
    expect((await silent).message).to.include("no answer within 30000 ms");
    expect(calls.map((call) => call.code)).to.deep.equal([0, 0]);
  });

  it("rejects with the caller's own reason when the caller gives up", async () => {
    await start(() => {});
    const stop = new AbortController();
    const read = client.get(words, ref, stop.signal).catch((error: unknown) => error);
    await until(() => api.requests.length === 1);
    stop.abort(new Error("not wanted any more"));
    expect(await read).to.equal(stop.signal.reason);
  });

  it("says what a proxy said when the answer is no Status", async () => {
    await start((_request, response) => answer(response, 404, "<html>nothing here</html>"));
    const error = await caught(client.get(words, ref, signal));
    expect(error.status.code).to.equal(404);
    expect(error.message).to.equal("get words.test.dev ns/a: HTTP 404: <html>nothing here</html>");
  });

  it("reuses few connections for many requests", async () => {
    const sockets = new Set<unknown>();
    await start((_request, response) => {
      sockets.add(response.socket);
      answer(response, 200, word("a", 1));
    });
    for (let i = 0; i < 20; i++) await client.get(words, ref, signal);
    // The pool may count a connection as busy for a moment after its answer was read.
    expect(sockets.size).to.be.at.most(2);
    await Promise.all(Array.from({ length: 400 }, () => client.get(words, ref, signal)));
    expect(sockets.size).to.be.at.most(48);
  });

  describe("watching", () => {
    const options = { namespace: "ns", resourceVersion: "5", timeoutSeconds: 300 };

    async function collect(count: number): Promise<WatchEvent[]> {
      const events: WatchEvent[] = [];
      for await (const event of client.watch(words, options, signal)) if (events.push(event) === count) break;
      return events;
    }

    it("decodes events, bookmarks and errors, wherever the chunks are cut", async () => {
      const large = "é€𝄞".repeat(180_000);
      const managedFields = [{ manager: "kubectl" }];
      const added = word("a", 6, { text: large });
      const withFields = { ...added, metadata: { ...added.metadata, managedFields } };
      const bytes = Buffer.from(line("ADDED", withFields) + bookmark(7) + line("DELETED", word("a", 8)));
      expect(bytes.byteLength).to.be.greaterThan(1.5 * 1024 * 1024);
      await start(async (_request, response) => {
        for (let from = 0; from < bytes.byteLength; from += 65_537) {
          response.write(bytes.subarray(from, from + 65_537));
          await new Promise((resolve) => setImmediate(resolve));
        }
      });
      const events = await collect(3);
      expect(events[0]).to.deep.equal({ type: "ADDED", object: added });
      expect(events[1]).to.deep.equal({ type: "BOOKMARK", resourceVersion: "7" });
      expect(events[2]).to.include({ type: "DELETED" });
      expect(api.requests[0]?.url.search).to.equal(
        "?watch=true&allowWatchBookmarks=true&resourceVersion=5&timeoutSeconds=300",
      );
    });

    it("throws when the connection breaks within a line", async () => {
      await start((_request, response) => {
        response.write(line("ADDED", word("a", 6)));
        response.end('{"type":"MODI');
      });
      const error = await caught(collect(2));
      expect(error.status.reason).to.equal("Unreachable");
      expect(error.message).to.include("within a watch event");
    });

    it("closes the connection when its reader leaves", async () => {
      const closed = Promise.withResolvers<void>();
      await start((_request, response) => {
        response.on("close", () => closed.resolve());
        response.write(line("ADDED", word("a", 6)));
      });
      await collect(1);
      await closed.promise;
    });

    it("ends a watch that the server forgets to end", async () => {
      await start((_request, response) => void response.write(line("ADDED", word("a", 6))));
      const events: WatchEvent[] = [];
      const watched = caught(
        (async () => {
          for await (const event of client.watch(words, options, signal)) events.push(event);
        })(),
      );
      await until(() => events.length === 1);
      await time.advance(330_000);
      expect((await watched).message).to.include("outlived its 300 s");
    });
  });

  describe("its credentials", () => {
    let directory: string;

    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), "millrace-credentials-"));
    });

    afterEach(async () => {
      await rm(directory, { recursive: true, force: true });
    });

    /** Knows one token. */
    function guarded(token: () => string): FakeHandler {
      return (request, response) => {
        if (request.headers.authorization === `Bearer ${token()}`) answer(response, 200, word("a", 1));
        else fail(response, 401, "Unauthorized");
      };
    }

    it("follow a token file that is rotated, at the first 401, also for writes", async () => {
      const tokenFile = join(directory, "token");
      await writeFile(tokenFile, "first\n");
      let valid = "first";
      await start(
        guarded(() => valid),
        { authProvider: { name: "tokenFile", config: { tokenFile } } },
      );
      await client.get(words, ref, signal);
      valid = "second";
      await writeFile(tokenFile, "second\n");
      await client.patch(words, ref, merge, undefined, signal);
      valid = "third";
      expect((await caught(client.get(words, ref, signal))).status.code).to.equal(401);
    });

    it("start an exec plugin once for a burst of requests, and again after a 401", async () => {
      const plugin = join(directory, "plugin.sh");
      const token = join(directory, "token");
      const count = join(directory, "count");
      await writeFile(token, "first");
      await writeFile(
        plugin,
        `#!/bin/sh\necho x >> ${count}\nprintf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}' "$(cat ${token})"\n`,
      );
      await chmod(plugin, 0o755);
      let valid = "first";
      const exec = { apiVersion: "client.authentication.k8s.io/v1", command: plugin, args: [] };
      await start(
        guarded(() => valid),
        { exec },
      );
      await Promise.all(Array.from({ length: 10 }, () => client.get(words, ref, signal)));
      expect(await readFile(count, "utf8")).to.equal("x\n");
      valid = "second";
      await writeFile(token, "second");
      await client.get(words, ref, signal);
      expect(await readFile(count, "utf8")).to.equal("x\nx\n");
    });

    it("do not start the plugin again and again for a token that stays wrong", async () => {
      const plugin = join(directory, "plugin.sh");
      const count = join(directory, "count");
      const credential = '{"kind":"ExecCredential","status":{"token":"wrong"}}';
      await writeFile(plugin, `#!/bin/sh\necho x >> ${count}\nprintf '${credential}'\n`);
      await chmod(plugin, 0o755);
      await start(
        guarded(() => "right"),
        { exec: { command: plugin, args: [] } },
      );
      const refused = await Promise.all(Array.from({ length: 20 }, () => caught(client.get(words, ref, signal))));
      expect(refused.map((error) => error.status.code)).to.deep.equal(Array(20).fill(401));
      expect(await readFile(count, "utf8")).to.equal("x\nx\n");
    });

    it("do not hold up a request for longer than its timeout when a plugin hangs", async () => {
      const plugin = join(directory, "plugin.sh");
      // Ends when the folder is removed.
      await writeFile(plugin, `#!/bin/sh\nwhile [ -e ${plugin} ]; do sleep 0.05; done\n`);
      await chmod(plugin, 0o755);
      await start(
        guarded(() => ""),
        { exec: { command: plugin, args: [] } },
      );
      const error = caught(client.patch(words, ref, merge, undefined, signal));
      await time.advance(30_000);
      expect((await error).message).to.include("no answer within 30000 ms");
    });

    it("say which plugin is missing", async () => {
      await start(
        guarded(() => ""),
        { exec: { command: join(directory, "no-such-plugin"), args: [] } },
      );
      const error = await caught(client.patch(words, ref, merge, undefined, signal));
      expect(error.status.code).to.equal(0);
      expect(error.message).to.include("no-such-plugin");
    });
  });
});

describe("the lines of a watch", () => {
  it("are the same wherever the bytes are cut", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: "grapheme", minLength: 1 }).map((text) => JSON.stringify(text))),
        fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }),
        async (lines, sizes) => {
          const bytes = Buffer.from(lines.map((each) => `${each}\n`).join(""));
          const chunks: Uint8Array[] = [];
          for (let from = 0, i = 0; from < bytes.byteLength; i++) {
            const size = sizes[i % sizes.length] ?? 1;
            chunks.push(bytes.subarray(from, from + size));
            from += size;
          }
          const seen: string[] = [];
          for await (const each of linesOf(asyncly(chunks))) seen.push(each);
          expect(seen).to.deep.equal(lines);
        },
      ),
    );
  });

  it("end in an error when one never ends", async () => {
    const chunk = new Uint8Array(1024 * 1024).fill(0x61);
    const read = (async () => {
      for await (const _ of linesOf(asyncly(Array<Uint8Array>(17).fill(chunk))));
    })();
    const error = await read.catch((thrown: Error) => thrown);
    expect((error as Error).message).to.include("longer than");
  });
});

describe("Retry-After", () => {
  it("is seconds or a date, and nothing else", () => {
    const now = Date.parse("Mon, 23 Nov 2026 12:00:00 GMT");
    expect(parseRetryAfter("3", now)).to.equal(3_000);
    expect(parseRetryAfter("Mon, 23 Nov 2026 12:00:05 GMT", now)).to.equal(5_000);
    expect(parseRetryAfter("Mon, 23 Nov 2026 11:00:00 GMT", now)).to.equal(0);
    expect(parseRetryAfter("soon", now)).to.equal(undefined);
    expect(parseRetryAfter(undefined, now)).to.equal(undefined);
  });
});

async function* asyncly(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield await Promise.resolve(chunk);
}
