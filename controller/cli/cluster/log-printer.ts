import { textType } from "../../../engine/payload.ts";
import type { Execution, PayloadRef, StepRow } from "../../api/types.ts";
import { isFinalRow } from "../../execution/status.ts";
import { type ItemRecord, manifestRef, readItem, readItems } from "../../payloads/manifest.ts";
import { type CliContext, CliError } from "../context.ts";
import type { ExecutionSource } from "./execution-source.ts";
import { logLine, logLines } from "./log-text.ts";

/** What is printed of logs, and how. */
export interface LogPrinterFlags {
  readonly item?: number;
  readonly attempt?: number;
  readonly timestamps?: true;
  readonly prefix?: true;
}

/** Prints logs of rows that have ended, each once. */
export class LogPrinter {
  readonly #source: ExecutionSource;
  readonly #step: string | undefined;
  readonly #flags: LogPrinterFlags;
  readonly #context: CliContext;
  readonly #printed = new Set<string>();
  #lines = 0;

  /** Without a step all rows' logs are printed. */
  constructor(source: ExecutionSource, step: string | undefined, flags: LogPrinterFlags, context: CliContext) {
    this.#source = source;
    this.#step = step;
    this.#flags = flags;
    this.#context = context;
  }

  async print(rows: readonly StepRow[]): Promise<void> {
    for (const row of rows) {
      if (!isFinalRow(row) && !this.#isItemWanted(row)) continue;
      if (this.#printed.has(row.name) || (this.#step !== undefined && this.#step !== row.name)) continue;
      this.#printed.add(row.name);
      await this.#row(row);
    }
  }

  /** Says on stderr why there was nothing to print. */
  explainSilence({ metadata }: Execution, rows: readonly StepRow[]): void {
    if (this.#lines > 0) return;
    const { item, attempt } = this.#flags;
    const attempts = attempt === undefined ? "" : ` in attempt ${attempt}`;
    const what =
      this.#step === undefined
        ? `no step of Execution "${metadata.name}" logged anything`
        : `${item === undefined ? "" : `item ${item} of `}step "${this.#step}" logged nothing`;
    const open = rows.some((row) => !isFinalRow(row));
    const mend = open ? " yet: a log is there when its step has ended; -f waits for it" : "";
    this.#context.stderr.write(`${what}${attempts}${mend}\n`);
  }

  /** An item's record may be there before its step has ended. */
  #isItemWanted({ name, items }: StepRow): boolean {
    return this.#flags.item !== undefined && name === this.#step && items?.results !== undefined;
  }

  async #row(row: StepRow): Promise<void> {
    if (row.log !== undefined && this.#flags.item === undefined) await this.#log(row.log, row.name);
    if (row.items !== undefined) await this.#items(row);
    else if (this.#flags.item !== undefined) {
      throw new CliError(`step "${row.name}" has no items; leave out --item, and its own log is printed`);
    }
  }

  async #items({ name, items }: StepRow): Promise<void> {
    const { item } = this.#flags;
    if (item !== undefined && items !== undefined && item >= items.total) {
      throw new CliError(`step "${name}" has no item ${item}: it has ${items.total}, counted from 0`);
    }
    if (items?.results === undefined) return;
    const { reader, owner } = await this.#source.payloads();
    const { interrupted } = this.#context;
    const ref = manifestRef(items.results);
    if (item === undefined) {
      for await (const record of readItems(reader, owner, ref, interrupted)) await this.#item(name, record);
      return;
    }
    const record = await readItem(reader, owner, ref, item, interrupted);
    if (record !== undefined) await this.#item(name, record);
  }

  async #item(step: string, { index, log }: ItemRecord): Promise<void> {
    if (log !== undefined) await this.#log({ ref: log.digest, bytes: log.bytes }, `${step} ${index}`);
  }

  async #log({ ref, bytes }: PayloadRef, place: string): Promise<void> {
    const { stdout, interrupted } = this.#context;
    const payload = await this.#source.open({ digest: ref, bytes, contentType: textType });
    const text = new TextDecoder().decode(await payload.bytes(interrupted));
    const { attempt, timestamps = false } = this.#flags;
    const choice = { withTimes: timestamps, ...(attempt === undefined ? {} : { attempt }) };
    const prefix = this.#hasPrefix(place) ? `[${place}] ` : "";
    for (const line of logLines(text, choice)) {
      this.#lines += 1;
      if (stdout.write(`${prefix}${logLine(line, stdout.isTTY === true)}\n`)) continue;
      await new Promise((settle) => stdout.once("drain", settle));
    }
  }

  /** Several logs are told apart. */
  #hasPrefix(place: string): boolean {
    const { prefix, item } = this.#flags;
    return prefix === true || this.#step === undefined || (item === undefined && place !== this.#step);
  }
}
