import { jsonType } from "../../../engine/payload.ts";
import type { Execution, PayloadRow, StepRow } from "../../api/types.ts";
import { isFinished } from "../../execution/objects.ts";
import type { ItemRecord } from "../../payloads/manifest.ts";
import { CliError } from "../context.ts";
import { codeWords } from "../terminal/row-words.ts";

/** What is asked for: a step's output, one of its items', or what it said about its payload. */
export interface Wanted {
  readonly execution: Execution;
  readonly step: string;
  readonly metadata: boolean;
}

/** What the whole run gave, or why there is nothing. `command` is what asks for a step's, but for its name. Throws CliError. */
export function runOutput(execution: Execution, outputName: string | undefined, command: string): PayloadRow {
  const { metadata, status } = execution;
  const { name } = metadata;
  const output =
    outputName === undefined ? status?.output : status?.outputs?.find((named) => named.name === outputName)?.value;
  if (output !== undefined) return output;
  const phase = `${status?.phase ?? "Pending"}${status?.progress === undefined ? "" : ` (${status.progress})`}`;
  const what = outputName === undefined ? "no output" : `no output "${outputName}"`;
  if (!isFinished(status)) {
    const mend = `wait for it: kubectl wait --for=condition=Complete --timeout=1h mexec/${name}`;
    throw new CliError(`Execution "${name}" has ${what} yet, it is ${phase}; ${mend}`);
  }
  if (outputName !== undefined && status?.phase === "Succeeded") {
    const names = (status.outputs ?? []).map((named) => named.name).join(", ");
    throw new CliError(`Execution "${name}" has ${what}; ${names === "" ? "it has no named ones" : `it has ${names}`}`);
  }
  const why = status?.conditions?.find(({ type }) => type === "Succeeded")?.message ?? "";
  throw new CliError(`Execution "${name}" has ${what}, it is ${phase}: ${why}; a step's: ${command} STEP`);
}

/** Throws CliError when there is no such step. */
export function stepRow({ execution, step }: Pick<Wanted, "execution" | "step">): StepRow {
  const { metadata, status } = execution;
  const rows = status?.steps ?? [];
  const row = rows.find(({ name }) => name === step);
  if (row !== undefined) return row;
  const names = rows.map(({ name }) => name).join(", ");
  const has = names === "" ? "it has not started" : `it has ${names}`;
  throw new CliError(`Execution "${metadata.name}" has no step "${step}"; ${has}`);
}

/** Throws CliError when there is none. */
export function stepOutput(wanted: Wanted): PayloadRow {
  const row = stepRow(wanted);
  const found = wanted.metadata ? metadataOf(row) : row.output;
  if (found !== undefined) return found;
  const why = row.error === undefined ? (row.reason ?? "") : `${codeWords(row.error)}: ${row.error.message}`;
  throw new CliError(`step ${place(wanted)} has no ${wordOf(wanted)}, it is ${row.state}${why && `: ${why}`}`);
}

/** Where a fan-out's items are recorded. Throws CliError for a step that is none, an item that it does not have, and one that has not ended. */
export function itemsResults(wanted: Wanted, index: number): { readonly ref: string; readonly bytes: number } {
  const { items, state } = stepRow(wanted);
  if (items === undefined) {
    const why = state === "Waiting" || state === "Skipped" ? `it is ${state}` : "it has no forEach";
    throw new CliError(`step ${place(wanted)} has no items, ${why}; without --item its own output is printed`);
  }
  if (index >= items.total) {
    throw new CliError(`step ${place(wanted)} has no item ${index}: it has ${items.total}, counted from 0`);
  }
  if (items.results !== undefined) return items.results;
  throw notEnded(wanted, index);
}

/** Throws CliError when there is none. */
export function itemOutput(wanted: Wanted, index: number, record: ItemRecord | undefined): PayloadRow {
  if (record === undefined) throw notEnded(wanted, index);
  const { metadata, output, state, error, reason } = record;
  if (wanted.metadata && metadata !== undefined) return { json: metadata, contentType: jsonType };
  if (!wanted.metadata && output !== undefined) return output;
  const why = error === undefined ? (reason ?? "") : `${codeWords(error)}: ${error.message}`;
  const which = `item ${index} of step ${place(wanted)}`;
  throw new CliError(`${which} has no ${wordOf(wanted)}, it is ${state}${why && `: ${why}`}`);
}

function metadataOf({ metadata, metadataPayload }: StepRow): PayloadRow | undefined {
  if (metadataPayload !== undefined) return { payload: metadataPayload, contentType: jsonType };
  return metadata === undefined ? undefined : { json: metadata, contentType: jsonType };
}

function notEnded(wanted: Wanted, index: number): CliError {
  const { name } = wanted.execution.metadata;
  const mend = `see: kubectl get mexec ${name} -o yaml`;
  return new CliError(`item ${index} of step ${place(wanted)} has not ended yet; ${mend}`);
}

function place({ execution, step }: Wanted): string {
  return `"${step}" of Execution "${execution.metadata.name}"`;
}

function wordOf({ metadata }: Wanted): string {
  return metadata ? "metadata" : "output";
}
