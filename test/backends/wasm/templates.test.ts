import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import type { Caller } from "../../../backends/call.ts";
import { fixtures } from "../../../scripts/fixtures/catalogue.ts";
import { backendOf, callerOf, callWith, outputOf, wasmSpec } from "./processors.ts";

const root = join(import.meta.dirname, "../../..");
const text = "one two\n Grüße\tfour\n";

/** By the folder of a template: how its README or manifest says to build it. */
const languages = {
  c: "README.md",
  zig: "README.md",
  assemblyscript: "package.json",
  rust: "README.md",
  go: "README.md",
} as const;

describe("The templates for authors", () => {
  for (const language of Object.keys(languages)) {
    it(`in ${language} count the words of a text`, async () => {
      const response = await call(language, (caller) => callWith(caller, text, { minimum: 4 }));
      expect(await outputOf(response)).to.equal('{"lines":2,"words":4}');
      expect(response.ok && response.payload.contentType).to.equal("application/json");
      expect(response.metadata).to.deep.equal({ words: "4" });
    });

    it(`in ${language} declare a failure`, async () => {
      const response = await call(language, (caller) => callWith(caller, text, { minimum: 5 }));
      expect(response).to.deep.include({
        ok: false,
        error: { code: "TooShort", message: "the text has 4 words, fewer than 5", retryable: false },
      });
    });
  }

  for (const language of Object.keys(languages)) {
    it(`in ${language} may be reused: what a call has taken is free for the next one, also after an empty input`, async () => {
      // What its runtime has from the start, and no call grows beyond twice.
      const maxMemoryBytes = (language === "go" ? 16 : 2) * 1024 * 1024;
      await call(
        language,
        async (caller) => {
          for (const input of ["", text.repeat(5_000)]) {
            const wanted = `{"lines":${2 * (input.length / text.length)},"words":${4 * (input.length / text.length)}}`;
            for (let time = 0; time < (input === "" ? 5_000 : 40); time += 1) {
              expect(
                await outputOf(await callWith(caller, input, { padding: "x".repeat(1000) })),
                `call ${time}`,
              ).to.equal(wanted);
            }
          }
        },
        { reuse: 10_000, limits: { maxMemoryBytes, fuel: 1_000_000_000 } },
      );
    }).timeout(60_000);
  }

  it("give the header of the reference processor for C", () => {
    expect(read("templates/wasm/c/millrace.h")).to.equal(read("test/fixtures/wasm/millrace.h"));
  });

  for (const [language, page] of Object.entries(languages)) {
    if (language === "rust") continue; // A user's Rust has its target's library; the fixtures' builds its own.
    it(`in ${language} are built by the tests as ${page} says`, () => {
      const { arguments: given } = builtFrom(language);
      const command = given.map((one) => one.replace(/^(-ldflags=)(.* .*)$/, "$1'$2'")).join(" ");
      expect(read(`templates/wasm/${language}/${page}`).replaceAll(/\\\n\s*/g, "")).to.include(command);
    });
  }
});

function read(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

function builtFrom(language: string): (typeof fixtures)[number] {
  const fixture = fixtures.find(({ name }) => name === `templates/${language}.wasm`);
  if (fixture === undefined) throw new Error(`there is no template in ${language}`);
  return fixture;
}

async function call<T>(
  language: string,
  use: (caller: Caller) => Promise<T>,
  more: Parameters<typeof wasmSpec>[1] = {},
): Promise<T> {
  const module = readFileSync(join(root, builtFrom(language).into, builtFrom(language).name));
  await using backend = backendOf({ "words.wasm": module });
  await using caller = await callerOf(backend, wasmSpec("words.wasm", more));
  return await use(caller);
}
