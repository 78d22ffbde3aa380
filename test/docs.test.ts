import { readFileSync } from "node:fs";
import { expect } from "chai";
import { parseAllDocuments } from "yaml";
import { isOurs, validateObject } from "../controller/api/validation.ts";
import type { CodeBlock } from "./support/markdown.ts";
import { blocksOf, pages, runBlocks } from "./support/pages.ts";

const blocks = pages.flatMap(blocksOf);
const placeOf = ({ page, line }: CodeBlock): string => `${page}:${line}`;

describe("the pages' examples", function () {
  this.timeout(180_000);

  it("are found", () => {
    expect(blocks.map(({ language }) => language)).to.include("console");
  });

  it("show commands in `console` blocks, which are run, but for those of foreign toolchains", () => {
    const shells = blocks.filter(({ language }) => ["sh", "bash", "shell", "zsh"].includes(language));
    const unchecked = shells.filter(({ flags }) => !flags.includes("toolchain"));
    expect(unchecked.map(placeOf)).to.deep.equal([]);
  });

  it("show only objects that the API server would take", () => {
    for (const block of blocks.filter(({ language, flags }) => language === "yaml" && !flags.includes("refused"))) {
      for (const document of parseAllDocuments(block.text)) {
        expect(document.errors, placeOf(block)).to.deep.equal([]);
        const object: unknown = document.toJS();
        if (isOurs(object)) expect(validateObject(object).problems, placeOf(block)).to.deep.equal([]);
      }
    }
  });

  it("show files as they are", () => {
    for (const block of blocks) {
      const file = block.flags.find((flag) => flag.startsWith("file="))?.slice("file=".length);
      if (file !== undefined) expect(block.text, placeOf(block)).to.equal(readFileSync(file, "utf8"));
    }
  });

  for (const page of pages) {
    const local = blocksOf(page).filter(({ language, flags }) => language === "console" && !flags.includes("cluster"));
    if (local.length > 0) it(`of ${page} print what it says`, () => runBlocks(local));
  }
});
