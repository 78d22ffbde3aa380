import { MillraceError } from "../../../../engine/errors.ts";
import type { ModuleShape } from "../../binary/shape.ts";
import { BinaryWriter } from "../../binary/writer.ts";
import { eachBody } from "./bodies.ts";
import { type Additions, BodyWriter } from "./body-writer.ts";
import { maxFrameBytes } from "./frames.ts";
import { Prepaid } from "./prepaid.ts";
import { type ModuleContext, type Survey, survey } from "./survey.ts";

/** V8 takes no larger function body. */
const maxBodyBytes = 7_654_321;

/** The code section with each function metered, and `added` behind them. */
export function meteredCode(
  bytes: Uint8Array,
  shape: ModuleShape,
  additions: Additions,
  added: readonly Uint8Array[],
): Uint8Array {
  const surroundings = contextOf(shape);
  const prepaid = new Prepaid(bytes, shape, surroundings);
  const context = { ...surroundings, prepaid };
  const section = new BinaryWriter(2 * bytes.byteLength);
  const body = new BinaryWriter(0);
  section.number(shape.functions.length + added.length);
  eachBody(bytes, shape, (code, type, index) => {
    const surveyed = survey(code, type, context);
    checkFrame(surveyed);
    body.clear();
    const payment = prepaid.payment(context.importedFunctions + index);
    new BodyWriter(body, bytes, { survey: surveyed, payment, prepaid, additions }).write(code.end);
    checkLength(body.length, surveyed);
    section.number(body.length);
    section.copy(body.bytes, 0, body.length);
  });
  for (const code of added) section.copy(code, 0, code.byteLength);
  return section.bytes;
}

function contextOf(shape: ModuleShape): ModuleContext {
  const imported = shape.imports.filter((entry) => entry.kind === "function");
  return {
    types: shape.types,
    importedFunctions: imported.length,
    vectorTypes: new Set(
      shape.types.filter(({ params, results }) => params.includes("v128") || results.includes("v128")),
    ),
    functionType: (index) =>
      index < imported.length ? imported[index]?.type : shape.types[shape.functions[index - imported.length] ?? -1],
  };
}

function checkFrame({ frameBytes, codeStart }: Survey): void {
  if (frameBytes <= maxFrameBytes) return;
  throw new MillraceError(
    "SandboxViolation",
    `The WASM module's function at offset 0x${codeStart.toString(16)} takes ${frameBytes} bytes of stack for one call, over the limit of ${maxFrameBytes} bytes. Build it with optimisation, or split it.`,
  );
}

function checkLength(length: number, { codeStart }: Survey): void {
  if (length <= maxBodyBytes) return;
  throw new MillraceError(
    "SandboxViolation",
    `The WASM module's function at offset 0x${codeStart.toString(16)} has ${length} bytes once it is metered, over the limit of ${maxBodyBytes} bytes. Split it.`,
  );
}
