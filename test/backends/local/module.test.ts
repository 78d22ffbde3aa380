import { execFileSync } from "node:child_process";
import { symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import type { LocalModule } from "../../../backends/backend.ts";
import { digestOf } from "../../../engine/payload.ts";
import { attemptOf, never, rejection, requestOf, specOf, textOf } from "../support.ts";
import { moduleOf, Plugins } from "./plugins.ts";

const echoSource =
  "export const process = (request) => ({ payload: request.payload, contentType: request.contentType });";

async function loadError(plugins: Plugins, changes: Partial<LocalModule>) {
  return rejection(plugins.backend.load(specOf(moduleOf(changes)), never));
}

describe("ES modules: loading", function () {
  this.timeout(30_000);
  let plugins: Plugins;
  beforeEach(async () => {
    plugins = await Plugins.create();
  });
  afterEach(() => plugins[Symbol.asyncDispose]());

  it("says digest, size, source and exports of what it loaded", async () => {
    const source = `${echoSource} export const version = "1";`;
    await using caller = await plugins.caller(source, { digest: digestOf(Buffer.from(source)) });
    const digest = digestOf(Buffer.from(source));
    expect(caller.processor.digests).to.deep.equal([digest]);
    expect(caller.processor.module).to.deep.equal({
      digest,
      bytes: source.length,
      source: "subject.mjs",
      exports: ["process", "version"],
    });
  });

  it("refuses a digest that is not the pinned one, naming both", async () => {
    await plugins.write("subject.mjs", echoSource);
    const digest = `sha256:${"0".repeat(64)}`;
    const error = await loadError(plugins, { digest });
    expect(error.code).to.equal("InvalidInput");
    expect(error.message)
      .to.include(digest)
      .and.to.include(digestOf(Buffer.from(echoSource)));
  });

  it("runs the bytes that it verified, and not what the file holds by then", async () => {
    const source = "export const process = (r) => r.options.die ? globalThis.process.exit(1) : 'verified';";
    await using caller = await plugins.caller(source);
    await plugins.write("subject.mjs", "export const process = () => 'swapped';");
    await rejection(caller.call(attemptOf(), requestOf("", { die: true }), never));
    expect(await textOf(await caller.call(attemptOf(), requestOf(), never))).to.equal("verified");
  });

  it("loads the file's present content with each load", async () => {
    await using first = await plugins.caller("export const process = () => 'one';");
    await using second = await plugins.caller("export const process = () => 'two';");
    expect(await textOf(await first.call(attemptOf(), requestOf(), never))).to.equal("one");
    expect(await textOf(await second.call(attemptOf(), requestOf(), never))).to.equal("two");
  });

  it("loads TypeScript as it is, and what a module imports from beside it", async () => {
    await plugins.write("lib/suffix.ts", "export const suffix: string = '!';");
    const source =
      "import { suffix } from './suffix.ts';\nexport function process(request: { payload: Uint8Array }): string { return Buffer.from(request.payload).toString() + suffix; }";
    await using caller = await plugins.caller(source, { file: "lib/subject.ts" });
    expect(await textOf(await caller.call(attemptOf(), requestOf("hey"), never))).to.equal("hey!");
  });

  it("takes another export by its name, the default one too", async () => {
    const source = "export default () => 'default'; export const other = () => 'other';";
    await using one = await plugins.caller(source, { export: "default" });
    await using two = await plugins.caller(source, { export: "other" });
    expect(await textOf(await one.call(attemptOf(), requestOf(), never))).to.equal("default");
    expect(await textOf(await two.call(attemptOf(), requestOf(), never))).to.equal("other");
  });

  const climbing = ["../outside.mjs", "a/../../outside.mjs", "/etc/passwd.mjs", "..\\outside.mjs", "a\0.mjs"];
  for (const file of climbing) {
    it(`refuses the path ${JSON.stringify(file)}`, async () => {
      await writeFile(join(plugins.root, "outside.mjs"), echoSource);
      expect((await loadError(plugins, { file })).code).to.equal("SandboxViolation");
    });
  }

  it("refuses a link out of the directory, a file's and a folder's, and follows one within", async () => {
    await writeFile(join(plugins.root, "outside.mjs"), echoSource);
    await plugins.write("inside.mjs", echoSource);
    await symlink(join(plugins.root, "outside.mjs"), join(plugins.dir, "link.mjs"));
    await symlink(plugins.root, join(plugins.dir, "folder"));
    await symlink(join(plugins.dir, "inside.mjs"), join(plugins.dir, "alias.mjs"));
    expect((await loadError(plugins, { file: "link.mjs" })).code).to.equal("SandboxViolation");
    expect((await loadError(plugins, { file: "folder/outside.mjs" })).code).to.equal("SandboxViolation");
    const loaded = await plugins.backend.load(specOf(moduleOf({ file: "alias.mjs" })), never);
    expect(loaded.module?.source).to.equal("alias.mjs");
  });

  it("refuses a pipe, which holds nobody up, and a file over 16 MiB, by its size alone", async () => {
    execFileSync("mkfifo", [join(plugins.dir, "pipe.mjs")]);
    await plugins.write("huge.mjs", "");
    await truncate(join(plugins.dir, "huge.mjs"), 2 ** 40);
    expect((await loadError(plugins, { file: "pipe.mjs" })).code).to.equal("InvalidInput");
    expect((await loadError(plugins, { file: "huge.mjs" })).code).to.equal("PayloadTooLarge");
  });

  const refused: readonly [string, string, Partial<LocalModule>, string, RegExp][] = [
    ["a file that is not there", echoSource, { file: "none.mjs" }, "NotFound", /none\.mjs.*ENOENT/],
    ["a file that is no module by its name", echoSource, { file: "subject.txt" }, "InvalidInput", /\.mjs/],
    ["an export that is not there", "export const run = 1;", {}, "NotFound", /does not export process; it exports run/],
    ["a module that exports nothing", "", {}, "NotFound", /exports nothing/],
    [
      "an export that is no function",
      "export const process = 1;",
      {},
      "InvalidInput",
      /of type number, not a function/,
    ],
    ["a module with a syntax error", "export const = ;", {}, "InvalidInput", /SyntaxError/],
    [
      "a module that throws when it is imported",
      "throw new Error('broken config');",
      {},
      "InvalidInput",
      /broken config/,
    ],
    ["a module that imports what is not there", "import './none.mjs';", {}, "InvalidInput", /none\.mjs/],
    ["a module that ends its process when it is imported", "process.exit(0);", {}, "ProcessorCrashed", /exit code 0/],
  ];
  for (const [what, source, changes, code, message] of refused) {
    it(`refuses ${what}`, async () => {
      await plugins.write("subject.mjs", source);
      const error = await loadError(plugins, changes);
      expect(error.code).to.equal(code);
      expect(error.message).to.match(message);
      expect(error.message).to.not.include(plugins.root);
    });
  }

  it("refuses modules where there is no plugins directory, and says the flag", async () => {
    await using none = await Plugins.create({ pluginsDir: undefined as never });
    expect((await loadError(none, {})).message).to.include("--plugins-dir");
  });
});

describe("ES modules: what authors are given, and what they may give", function () {
  this.timeout(30_000);
  let plugins: Plugins;
  before(async () => {
    plugins = await Plugins.create();
  });
  after(() => plugins[Symbol.asyncDispose]());

  it("gives payload, type, metadata, options and context, in a thread without an environment", async () => {
    const source = `export const process = (request, context) => ({ json: {
      text: Buffer.from(request.payload).toString(), isBytes: request.payload instanceof Uint8Array,
      contentType: request.contentType, metadata: request.metadata, options: request.options,
      step: context.step, attempt: context.attempt, key: context.idempotencyKey, execution: context.execution,
      remaining: context.remainingMs > 0 && context.remainingMs <= 900, aborted: context.signal.aborted,
      env: Object.keys(globalThis.process.env) } });`;
    await using caller = await plugins.caller(source);
    const request = { ...requestOf("mill", { top: 3 }), metadata: { "up.a": "1" } };
    const response = await caller.call(attemptOf({ attempt: 2, timeoutMs: 900 }), request, never);
    expect(JSON.parse(await textOf(response))).to.deep.equal({
      text: "mill",
      isBytes: true,
      contentType: "text/plain; charset=utf-8",
      metadata: { "up.a": "1" },
      options: { top: 3 },
      step: "step",
      attempt: 2,
      key: "uid/step",
      execution: { namespace: "test", name: "run", uid: "uid" },
      remaining: true,
      aborted: false,
      env: [],
    });
  });

  const answers: readonly [string, string, string, string][] = [
    ["a string", "'text'", "text", "text/plain; charset=utf-8"],
    ["bytes", "new Uint8Array([104, 105])", "hi", "application/octet-stream"],
    ["a Buffer out of a pool", "Buffer.from('pooled')", "pooled", "application/octet-stream"],
    ["a payload with its type", "({ payload: 'a,b', contentType: 'text/csv' })", "a,b", "text/csv"],
    ["a JSON value", "({ json: [1, { a: null }] })", '[1,{"a":null}]', "application/json"],
    ["JSON null", "({ json: null })", "null", "application/json"],
    ["metadata alone: an empty payload", "({ metadata: { a: '1' } })", "", "application/octet-stream"],
    ["a promise", "Promise.resolve('later')", "later", "text/plain; charset=utf-8"],
  ];
  for (const [what, expression, text, contentType] of answers) {
    it(`takes ${what}`, async () => {
      await using caller = await plugins.caller(`export const process = () => ${expression};`);
      const response = await caller.call(attemptOf(), requestOf(), never);
      expect(await textOf(response)).to.equal(text);
      expect(response.ok && response.payload.contentType).to.equal(contentType);
    });
  }

  it("takes a declared failure with its code, message, retryable and delay", async () => {
    const source =
      "export const process = () => ({ error: { code: 'Busy', message: 'later', retryable: true, retryAfterMs: 5 } });";
    await using caller = await plugins.caller(source);
    const response = await caller.call(attemptOf(), requestOf(), never);
    expect(!response.ok && response.error).to.deep.equal({
      code: "Busy",
      message: "later",
      retryable: true,
      retryAfterMs: 5,
    });
  });

  const garbage: readonly [string, RegExp][] = [
    ["undefined", /undefined/],
    ["42", /a number/],
    ["[1]", /an array/],
    ["({ body: 'x' })", /"body"/],
    ["({ payload: { a: 1 } })", /payload is an object/],
    ["({ payload: 'a', json: 1 })", /both payload and json/],
    ["({ json: () => 1 })", /json is a function/],
    ["({ payload: 'a', contentType: 7 })", /contentType/],
    ["({ metadata: { a: 1 } })", /metadata "a" is a number/],
    ["({ error: 'sorry' })", /error must be/],
    ["(() => { const a = []; a.push(a); return { json: a }; })()", /circular/i],
    ["({ get payload() { throw new Error('gotcha'); } })", /gotcha/],
  ];
  for (const [expression, message] of garbage) {
    it(`says ProcessorCrashed, and what would be right, of ${expression}`, async () => {
      await using caller = await plugins.caller(`export const process = () => ${expression};`);
      const error = await rejection(caller.call(attemptOf(), requestOf(), never));
      expect(error.code).to.equal("ProcessorCrashed");
      expect(error.message).to.match(message).and.to.include("subject.mjs");
    });
  }

  it("says what was thrown and where, without the directory's path", async () => {
    await using caller = await plugins.caller("export function process() {\n  throw new TypeError('no melon');\n}");
    const error = await rejection(caller.call(attemptOf(), requestOf(), never));
    expect(error.code).to.equal("ProcessorCrashed");
    expect(error.message)
      .to.include("TypeError: no melon")
      .and.to.match(/subject\.mjs:2:9/);
    expect(error.message).to.not.include(plugins.root).and.to.not.include("sha256=");
  });

  it("gives 1 MiB in and out, and leaves the caller's bytes alone", async () => {
    await using caller = await plugins.caller(
      "const kept = new Map(); export const process = (r) => { const k = r.payload.length; if (!kept.has(k)) kept.set(k, r.payload); return kept.get(k); };",
    );
    const request = requestOf("x".repeat(1024 * 1024));
    for (let calls = 0; calls < 3; calls += 1) {
      const response = await caller.call(attemptOf(), request, never);
      expect(response.ok && response.payload.digest).to.equal(request.payload.digest);
    }
    expect(request.payload.size).to.equal(1024 * 1024);
  });
});
