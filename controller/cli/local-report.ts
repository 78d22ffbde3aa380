import type { Clock, Ports, Random } from "../../engine/clock.ts";
import type { Outcome, RunEvent } from "../../engine/outcome.ts";
import { BytesPayload, type Payload } from "../../engine/payload.ts";
import type { Plan } from "../../engine/plan.ts";
import type { ExecutionIdentity } from "../../engine/processor.ts";
import { apiVersion } from "../api/kinds.ts";
import type { Execution, PayloadRow, Pipeline } from "../api/types.ts";
import type { RunInput } from "../execution/input.ts";
import { Recorder } from "../execution/recorder.ts";
import { failure, renderStatus, type Verdict } from "../execution/status.ts";
import { inlineValue, maxInlineBytes, storedValue } from "../execution/values.ts";
import { timestamp } from "../runtime/conditions.ts";
import type { TerminalStream } from "./context.ts";
import { defaultNamespace } from "./workspace.ts";

/** A run without an API server, told as the Execution that it would have been. */
export class LocalReport {
  readonly identity: ExecutionIdentity;
  readonly #pipeline: Pipeline;
  readonly #given: RunInput;
  readonly #clock: Clock;
  readonly #recorder: Recorder;
  readonly #startTime: string;

  constructor(pipeline: Pipeline, plan: Plan, given: RunInput, { clock, random }: Ports) {
    const { name, namespace = defaultNamespace } = pipeline.metadata;
    const uid = randomUid(random);
    this.identity = { namespace, name: `${name}-${uid.slice(0, 5)}`, uid };
    this.#pipeline = pipeline;
    this.#given = given;
    this.#clock = clock;
    this.#startTime = timestamp(clock.now());
    this.#recorder = new Recorder({
      clock,
      payloads: { row: rowOf },
      signal: new AbortController().signal,
      steps: plan.steps,
      recorded: [],
      onChange: () => {},
    });
  }

  onEvent(event: RunEvent): void {
    this.#recorder.onEvent(event);
  }

  /** As text only what the run gave, as it is; else the whole Execution. */
  async print(outcome: Outcome, format: "text" | "json" | "yaml", stdout: TerminalStream): Promise<void> {
    const signal = new AbortController().signal;
    if (format === "text") {
      if (outcome.output !== undefined) await writeOutput(stdout, await outcome.output.bytes(signal));
      return;
    }
    const execution = await this.#execution(outcome, signal);
    if (format === "json") stdout.write(`${JSON.stringify(execution, undefined, 2)}\n`);
    else stdout.write((await import("yaml")).stringify(execution));
  }

  async #execution(outcome: Outcome, signal: AbortSignal): Promise<Omit<Execution, "spec"> & { spec: object }> {
    await this.#recorder.settled();
    const rows = this.#recorder.rows;
    const facts = {
      verdict: verdictOf(outcome, rows),
      generation: 1,
      conditions: [],
      rows,
      startTime: this.#startTime,
    };
    const output = outcome.output && { output: await wholeRow(outcome.output, signal) };
    const { name, namespace, uid } = this.identity;
    const parameters = Object.entries(this.#given.parameters).map(([parameter, value]) => ({ name: parameter, value }));
    return {
      apiVersion,
      kind: "Execution",
      metadata: { name, namespace, uid },
      spec: { pipeline: this.#pipeline.metadata.name, ...(parameters.length === 0 ? {} : { parameters }) },
      status: renderStatus({ ...facts, ...output }, this.#clock.now()),
    };
  }
}

/** A UUID of version 4. Not node:crypto's, which takes longer to load than a short run takes. */
function randomUid(random: Random): string {
  const hex = Array.from({ length: 32 }, () => Math.floor(random() * 16));
  hex[12] = 4;
  hex[16] = 8 + Math.floor(random() * 4);
  const digits = hex.map((digit) => digit.toString(16)).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function verdictOf(outcome: Outcome, rows: Recorder["rows"]): Verdict {
  if (outcome.state === "Succeeded") return { phase: "Succeeded", message: `All ${rows.length} steps have ended` };
  if (outcome.state === "Cancelled" || outcome.error === undefined) {
    return { phase: "Cancelled", message: "The run was interrupted" };
  }
  return failure(outcome.error, rows);
}

/** A step's output: by value where a status would have it so, else by its digest. */
function rowOf(payload: Payload, signal: AbortSignal): PayloadRow | Promise<PayloadRow> {
  if (payload.size <= maxInlineBytes) return wholeRow(payload, signal);
  return storedValue({ digest: payload.digest, bytes: payload.size, contentType: payload.contentType });
}

async function wholeRow(payload: Payload, signal: AbortSignal): Promise<PayloadRow> {
  return inlineValue(new BytesPayload(await payload.bytes(signal), payload.contentType));
}

/** Byte for byte; only a terminal gets the line break that a text lacks. */
async function writeOutput(stdout: TerminalStream, bytes: Uint8Array): Promise<void> {
  const lineBreak = stdout.isTTY === true && bytes.at(-1) !== 0x0a ? "\n" : "";
  await new Promise<void>((resolve, reject) => {
    stdout.write(bytes);
    stdout.write(lineBreak, (error) => (error ? reject(error) : resolve()));
  });
}
