import { Command } from "commander";
import type { CliContext } from "../context.ts";
import { wasmCallCommand } from "./call.ts";
import { wasmCheckCommand } from "./check.ts";
import { wasmNewCommand } from "./new.ts";

/** `millrace wasm`: for authors of WASM modules. */
export function wasmCommand(context: CliContext): Command {
  return new Command("wasm")
    .description("Write, check and call WebAssembly modules, without a cluster.")
    .addCommand(wasmNewCommand(context))
    .addCommand(wasmCheckCommand(context))
    .addCommand(wasmCallCommand(context))
    .addHelpText("after", examples);
}

const examples = `
Examples:
  millrace wasm new words --lang rust              begin a module
  millrace wasm check words.wasm                   see what it is, and what would be refused
  millrace wasm call words.wasm --input @book.txt  call it once`;
