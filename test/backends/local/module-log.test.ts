import { expect } from "chai";
import { Secrets } from "../../../backends/secrets.ts";
import { attemptOf, callerOf, never, rejection, requestOf, specOf } from "../support.ts";
import { moduleOf, Plugins } from "./plugins.ts";

function listening(): { readonly lines: string[]; readonly log: (line: string) => void } {
  const lines: string[] = [];
  return { lines, log: (line) => lines.push(line.replace(/^\S+ /, "")) };
}

describe("What an ES module prints", function () {
  this.timeout(30_000);
  let plugins: Plugins;
  beforeEach(async () => {
    plugins = await Plugins.create({ maxWorkers: 2, allowIsolation: ["Inline"], abortGraceMs: 20 });
  });
  afterEach(() => plugins[Symbol.asyncDispose]());

  it("by the console is in the log of its attempt, formatted as Node does", async () => {
    const source = `export function process() {
      console.log("a %s and", "word", { n: 1 });
      console.info("info"); console.warn("warn"); console.error("error"); console.debug("debug");
      return "";
    }`;
    await using caller = await plugins.caller(source);
    const { lines, log } = listening();
    await caller.call(attemptOf({ log }), requestOf(), never);
    expect(lines).to.deep.equal(["a word and { n: 1 }", "info", "warn", "error", "debug"]);
  });

  it("while it is loaded, and after its call has ended, is in nobody's log", async () => {
    const source = `console.log("loading");
      let first = true;
      export async function process() {
        if (first) setTimeout(() => console.log("late"), 30);
        else await new Promise((resolve) => setTimeout(resolve, 60));
        first = false;
        console.log("own");
        return "";
      }`;
    await using caller = await plugins.caller(source);
    const one = listening();
    const two = listening();
    await caller.call(attemptOf({ log: one.log }), requestOf(), never);
    await caller.call(attemptOf({ log: two.log }), requestOf(), never);
    expect([one.lines, two.lines]).to.deep.equal([["own"], ["own"]]);
  });

  it("is kept when it crashes, spins until its time is up, or ends its thread", async () => {
    const ends = { throw: 'throw new Error("no")', spin: "for (;;);", exit: "globalThis.process.exit(1)" };
    for (const [what, end] of Object.entries(ends)) {
      const source = `export function process(_, { log }) { log("before"); ${end}; }`;
      await using caller = await plugins.caller(source, { file: `${what}.mjs` });
      const { lines, log } = listening();
      await rejection(caller.call(attemptOf({ log, timeoutMs: 500 }), requestOf(), never));
      expect(lines, what).to.deep.equal(["before"]);
    }
  });

  it("is bounded also where it prints without end, and holds up nobody", async () => {
    const source = `export function process(_, { log }) { for (;;) log("x".repeat(100)); }`;
    await using caller = await plugins.caller(source);
    const { lines, log } = listening();
    const startedMs = performance.now();
    const error = await rejection(caller.call(attemptOf({ log, timeoutMs: 500 }), requestOf(), never));
    expect(error.code).to.equal("DeadlineExceeded");
    expect(performance.now() - startedMs).to.be.lessThan(1500);
    expect(lines.length).to.be.lessThan(600);
    expect(lines.at(-1)).to.match(/^\[log cut: \d{5,} more bytes\]$/);
  });

  for (const isolation of ["Thread", "Inline"] as const) {
    it(`has no secrets, nor has what it throws, in ${isolation}; and its environment has none`, async () => {
      const source = `export function process(_, { log, secrets }) {
        const found = JSON.stringify(globalThis.process.env).includes(secrets.key);
        log(\`\${found} \${secrets.key}\`);
        throw new Error("x".repeat(990) + secrets.key);
      }`;
      const secrets = new Secrets({ key: "k3y-0815-4711-0815" });
      await plugins.write("subject.mjs", source);
      const loaded = await plugins.backend.load(specOf(moduleOf({ isolation })), never);
      await using caller = callerOf(loaded, {}, { secrets: () => secrets });
      const { lines, log } = listening();
      const error = await rejection(caller.call(attemptOf({ log }), requestOf(), never));
      expect(lines).to.deep.equal(["false ***"]);
      expect(error.message).to.include("x***").and.not.include("k3y");
    });
  }
});
