import { MillraceError } from "../../../engine/errors.ts";
import { type BytesPayload, jsonPayload } from "../../../engine/payload.ts";
import type { ExecutionInput } from "../../api/types.ts";
import type { CompiledPipeline } from "../../catalog.ts";
import { checkedInput, type RunInput } from "../../execution/input/input.ts";
import { inputOf } from "../cluster/execution-draft.ts";
import { parseParameters, readInput } from "../cluster/given-input.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";
import type { RunFlags } from "./run-flags.ts";

/** What the command line gives a run. */
export interface Given extends Pick<RunInput, "input" | "parameters"> {
  /** The input as an Execution would say it; absent: none was given, and the run receives null. */
  readonly stated: ExecutionInput | undefined;
}

/** The input and the parameters of the command line, checked as an Execution's are. Throws CliError. */
export async function readGiven(pipeline: CompiledPipeline, flags: RunFlags, context: CliContext): Promise<Given> {
  const given = await readInput(flags, context);
  const schemas = new Map((pipeline.closure.spec.parameters ?? []).map(({ name, schema }) => [name, schema]));
  const parameters = parseParameters(flags.param, (name) => schemas.get(name)?.type === "string");
  try {
    const checked = checkedInput(pipeline, parameters, given ?? jsonPayload(null));
    return { ...checked, stated: given && statedInput(given) };
  } catch (error) {
    if (error instanceof MillraceError) throw new CliError(`${error.code}: ${error.message}`, exitCodes.failed);
    throw error;
  }
}

/** A run takes what is called JSON and is none, where nothing looks into it; an Execution can only name it. */
function statedInput(given: BytesPayload): ExecutionInput {
  try {
    return inputOf(given);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return { payload: { ref: given.digest, contentType: given.contentType } };
  }
}
