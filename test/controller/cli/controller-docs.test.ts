import { readFileSync } from "node:fs";
import { PassThrough } from "node:stream";
import { expect } from "chai";
import type { CliContext } from "../../../controller/cli/context.ts";
import { controllerCommand } from "../../../controller/cli/controller.ts";
import { refusalReasons } from "../../../controller/processor/refusal.ts";
import { VirtualTime } from "../../support/virtual-time.ts";

const page = readFileSync(new URL("../../../docs/controller.md", import.meta.url), "utf8");

function context(): CliContext {
  const signal = new AbortController().signal;
  const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() };
  return {
    env: {},
    cwd: "/",
    version: "0.0.0",
    ports: new VirtualTime(),
    interrupted: signal,
    takeSecondInterrupt: () => signal,
    ...streams,
  };
}

/** What a table's first column names in backquotes, below this heading. */
function named(heading: string, column: number): readonly string[] {
  const section = page.slice(page.indexOf(`\n## ${heading}\n`) + 1);
  const end = section.indexOf("\n## ");
  const rows = (end < 0 ? section : section.slice(0, end)).split("\n").filter((line) => line.startsWith("| `"));
  return rows.flatMap((row) =>
    [...(row.split(/(?<!\\)\|/)[column] ?? "").matchAll(/`([^`]+)`/g)].map(([, name]) => name ?? ""),
  );
}

describe("docs/controller.md", () => {
  it("has every flag of the command, and no other", () => {
    const flags = controllerCommand(context()).options.map(({ long }) => long ?? "");
    const documented = named("Flags", 1).flatMap((text) => text.match(/--[a-z-]+/g) ?? []);
    expect(documented).to.have.members(flags);
  });

  it("has every reason for which a Processor is refused", () => {
    expect(named("Processors", 1)).to.include.members([...refusalReasons]);
  });
});
