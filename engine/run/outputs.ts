import type { Expression } from "../expressions/expressions.ts";
import type { Payload } from "../payload.ts";
import { jsonPayload } from "../payload.ts";
import type { Plan } from "../plan.ts";
import type { Records } from "./records.ts";
import type { Fetched } from "./scope.ts";
import { nothingFetched } from "./scope.ts";

/** What a run that succeeds gives. */
export interface Outputs {
  readonly output: Payload;
  /** The named ones. */
  readonly outputs: ReadonlyMap<string, Payload>;
}

const noneNamed: ReadonlyMap<string, Payload> = new Map();

/** Where the outputs need no expression: what they are; undefined where the step that would give the output failed. */
export function plainOutputs(records: Records): Outputs | undefined {
  const output = originOutput(records);
  return output === undefined ? undefined : { output, outputs: noneNamed };
}

export function hasOutputExpressions({ output, outputs }: Plan): boolean {
  return output !== undefined || outputs.length > 0;
}

/** Evaluates them one after another, with turns of the event loop where it takes long; undefined as above. */
export async function evaluateOutputs(records: Records, signal: AbortSignal): Promise<Outputs | undefined> {
  const { plan, scope } = records;
  const output = plan.output === undefined ? originOutput(records) : await evaluate(records, plan.output, signal);
  if (output === undefined) return undefined;
  const outputs = new Map<string, Payload>();
  for (const { name, value } of plan.outputs) outputs.set(name, await evaluate(records, value, signal));
  scope.release(plan.outputReads);
  return { output, outputs };
}

/** The only sink's; null where that was skipped, but not because of a failure. */
function originOutput(records: Records): Payload | undefined {
  const { outputOrigin } = records.plan;
  const payload = records.payload(outputOrigin);
  if (payload !== undefined) return payload;
  const result = records.results[outputOrigin];
  const isMissed =
    result?.state === "Skipped" && (result.reason === "WhenFalse" || result.reason === "UpstreamSkipped");
  return isMissed ? jsonPayload(null) : undefined;
}

async function evaluate(records: Records, expression: Expression, signal: AbortSignal): Promise<Payload> {
  const { scope } = records;
  let fetched: Fetched = nothingFetched;
  // What was decoded may be let go while something is waited for: so it is prepared again, until nothing is missing.
  for (;;) {
    if (records.isTurnOver) await turn(records);
    const waiting = scope.prepare(expression, fetched, signal);
    if (waiting === undefined) return scope.payloadOf(expression, fetched);
    fetched = await waiting;
  }
}

function turn(records: Records): Promise<void> {
  return new Promise((resolve) => {
    records.options.ports.scheduler.after(0, () => {
      records.startTurn();
      resolve();
    });
  });
}
