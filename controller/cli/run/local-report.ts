import type { Clock, Random } from "../../../engine/clock.ts";
import type { Outcome, RunEvent } from "../../../engine/outcome.ts";
import { BytesPayload, type Payload } from "../../../engine/payload.ts";
import type { ExecutionIdentity, ProcessorRequest } from "../../../engine/processor.ts";
import type { Attempt } from "../../../engine/run/run-options.ts";
import { apiVersion } from "../../api/kinds.ts";
import type { Execution, ExecutionInput, PayloadRow, Pipeline } from "../../api/types.ts";
import type { CompiledPipeline } from "../../catalog.ts";
import { ranFor } from "../../execution/active.ts";
import type { RunInput } from "../../execution/input/input.ts";
import { Recorder } from "../../execution/recording/recorder.ts";
import { inlineValue, maxInlineBytes, storedValue } from "../../execution/recording/values.ts";
import { verdictOf } from "../../execution/run/verdicts.ts";
import { renderStatus, type Verdict } from "../../execution/status.ts";
import { timestamp } from "../../runtime/conditions.ts";
import type { TerminalStream } from "../context.ts";
import { defaultNamespace } from "../workspace.ts";
import type { SavingRun } from "./saving-run.ts";

export interface LocalReportOptions {
  readonly identity: ExecutionIdentity;
  readonly pipeline: CompiledPipeline;
  readonly given: RunInput;
  /** As an Execution would say it; absent: null. */
  readonly input: ExecutionInput | undefined;
  readonly clock: Clock;
  readonly saving: SavingRun | undefined;
}

/** A run without an API server, told as the Execution that it would have been, by the code that tells a cluster's. */
export class LocalReport {
  readonly #options: LocalReportOptions;
  readonly #recorder: Recorder;
  readonly #signal = new AbortController().signal;
  readonly #startedAtMs: number;
  readonly #startTime: string;

  constructor(options: LocalReportOptions) {
    const { clock, pipeline, saving } = options;
    this.#options = options;
    this.#startedAtMs = clock.monotonic();
    this.#startTime = timestamp(clock.now());
    this.#recorder = new Recorder({
      clock,
      payloads: saving?.payloads ?? { row: rowOf },
      ...(saving === undefined ? {} : { store: saving.payloads, logs: saving.logs }),
      signal: this.#signal,
      steps: pipeline.plan.steps,
      recorded: [],
      onChange: () => {},
    });
  }

  onEvent(event: RunEvent): void {
    this.#recorder.onEvent(event);
  }

  /** What an attempt runs on. Told only where it is kept: digests of requests take longer than a short run. */
  used(attempt: Attempt, request: ProcessorRequest, digests: readonly string[]): void {
    const { saving } = this.#options;
    if (saving !== undefined) this.#recorder.used(attempt, { generation: 1, digests }, saving.requestOf(request));
  }

  /** As text only what the run gave, as it is; else the whole Execution. */
  async print(outcome: Outcome, format: "text" | "json" | "yaml", stdout: TerminalStream): Promise<void> {
    if (format === "text") {
      if (outcome.output !== undefined) await writeOutput(stdout, await outcome.output.bytes(this.#signal));
      return;
    }
    const execution = await this.#execution(outcome, wholeRow);
    if (format === "json") stdout.write(`${JSON.stringify(execution, undefined, 2)}\n`);
    else stdout.write((await import("yaml")).stringify(execution, { aliasDuplicateObjects: false }));
  }

  /** Writes what the run left into its folder, if it is to be saved. Throws MillraceError. */
  async save(outcome: Outcome): Promise<void> {
    const { saving, given, input } = this.#options;
    if (saving === undefined) return;
    if (input?.payload !== undefined) await saving.put(given.input, this.#signal);
    const row = async (payload: Payload, signal: AbortSignal) => await saving.payloads.row(payload, signal);
    await saving.finish(await this.#execution(outcome, row));
  }

  async #execution(
    outcome: Outcome,
    row: (payload: Payload, signal: AbortSignal) => Promise<PayloadRow>,
  ): Promise<Execution> {
    await this.#recorder.settled();
    const { identity, clock, saving } = this.#options;
    const { name, namespace, uid } = identity;
    const outputs = [...(outcome.outputs ?? [])].map(async ([output, value]) => ({
      name: output,
      value: await row(value, this.#signal),
    }));
    const facts = {
      verdict: this.#verdict(outcome),
      generation: 1,
      conditions: [],
      rows: this.#recorder.rows,
      startTime: this.#startTime,
      active: ranFor(clock.monotonic() - this.#startedAtMs),
      ...(saving === undefined ? {} : { pipelineRevision: saving.revision }),
      ...(outcome.output === undefined ? {} : { output: await row(outcome.output, this.#signal) }),
      outputs: await Promise.all(outputs),
    };
    return {
      apiVersion,
      kind: "Execution",
      metadata: { name, namespace, uid, generation: 1, creationTimestamp: this.#startTime },
      spec: this.#spec(),
      status: renderStatus(facts, clock.now()),
    };
  }

  #spec(): Execution["spec"] {
    const { pipeline, given, input } = this.#options;
    const parameters = Object.entries(given.parameters).map(([name, value]) => ({ name, value }));
    return {
      pipeline: pipeline.closure.name,
      ...(parameters.length === 0 ? {} : { parameters }),
      ...(input === undefined ? {} : { input }),
      priority: 0,
      suspend: false,
      cancel: "None",
    };
  }

  #verdict(outcome: Outcome): Verdict {
    if (outcome.state === "Cancelled") return { phase: "Cancelled", message: "Cancelled by a signal" };
    const { steps, finallyFrom } = this.#options.pipeline.plan;
    const { rows, storeError } = this.#recorder;
    const last = new Set(steps.slice(finallyFrom).map(({ name }) => name));
    return verdictOf(outcome, { rows, storeError, cancel: "Graceful", finally: last });
  }
}

/** Whom a run of this Pipeline without an API server is. */
export function newIdentity({ metadata }: Pipeline, random: Random): ExecutionIdentity {
  const uid = randomUid(random);
  const { name, namespace = defaultNamespace } = metadata;
  return { namespace, name: `${name}-${uid.slice(0, 5)}`, uid };
}

/** A UUID of version 4. Not node:crypto's, which takes longer to load than a short run takes. */
function randomUid(random: Random): string {
  const hex = Array.from({ length: 32 }, () => Math.floor(random() * 16));
  hex[12] = 4;
  hex[16] = 8 + Math.floor(random() * 4);
  const digits = hex.map((digit) => digit.toString(16)).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
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
