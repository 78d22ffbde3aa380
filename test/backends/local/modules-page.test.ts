import { readFileSync } from "node:fs";
import { expect } from "chai";
import { Secrets } from "../../../backends/secrets.ts";
import { codeBlocks } from "../../support/markdown.ts";
import { attemptOf, callerOf, never, requestOf, specOf, textOf } from "../support.ts";
import { moduleOf, Plugins } from "./plugins.ts";

describe("docs/modules.md", function () {
  this.timeout(30_000);
  const page = readFileSync(new URL("../../../docs/modules.md", import.meta.url), "utf8");
  const blocks = codeBlocks("docs/modules.md", page);
  const source = blocks.find(({ language }) => language === "js")?.text ?? "";

  it("shows a module that does what the page says", async () => {
    const [, options = "", input = ""] = /With the options `([^`]+)` it makes this of `([^`]+)`/.exec(page) ?? [];
    const output = blocks.find(({ language }) => language === "json")?.text ?? "";
    await using plugins = await Plugins.create();
    await using caller = await plugins.caller(source);
    const response = await caller.call(attemptOf(), requestOf(input, JSON.parse(options)), never);
    expect(JSON.parse(await textOf(response))).to.deep.equal(JSON.parse(output));
    expect(response.metadata).to.deep.equal({ words: "8" });
  });

  it("shows a module that uses a secret and logs, with the line that the page has of it", async () => {
    const keyed = blocks.filter(({ language }) => language === "js")[1]?.text ?? "";
    const [, line = ""] = /Its log says `([^`]+)`/.exec(page) ?? [];
    await using plugins = await Plugins.create();
    await plugins.write("translate.mjs", keyed);
    const loaded = await plugins.backend.load(specOf(moduleOf({ file: "translate.mjs" })), never);
    const secrets = new Secrets({ "api-key": "k3y-0815" });
    await using caller = callerOf(loaded, {}, { secrets: () => secrets });
    const log: string[] = [];
    const response = await caller.call(attemptOf({ log: (text) => log.push(text) }), requestOf("a"), never);
    expect(response.metadata).to.deep.equal({ keyed: "true" });
    expect(log.map((text) => text.replace(/^\S+ /, ""))).to.deep.equal([line]);
  });

  it("shows a module that declares its failure", async () => {
    await using plugins = await Plugins.create();
    await using caller = await plugins.caller(source);
    const response = await caller.call(attemptOf(), requestOf("123"), never);
    expect(!response.ok && response.error.code).to.equal("NoWords");
  });
});
