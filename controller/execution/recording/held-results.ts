import type { ItemResult, StepResult } from "../../../engine/outcome.ts";
import type { PayloadRef as PayloadRefRow, PayloadRow } from "../../api/types.ts";
import type { ItemRecord } from "../../payloads/manifest.ts";
import type { PayloadRef } from "../../payloads/store.ts";
import { maxMessageBytes } from "../status.ts";
import { type MetadataRow, type RunPayloads, refRow } from "./payloads.ts";
import type { HeldResult } from "./rows.ts";
import type { StepLogs } from "./step-logs.ts";

export interface HolderOptions {
  readonly payloads: Pick<RunPayloads, "row">;
  /** Where all else goes that is too large for a row; absent: it is left out, or in the row all the same. */
  readonly store?: RunPayloads;
  readonly logs?: StepLogs;
  /** Aborts what is being stored. */
  readonly signal: AbortSignal;
  /** Told of what a row will lack, and why; what a step gave is never among it. */
  readonly onLoss?: (what: "log" | "message", step: string, error: unknown) => void;
}

/** Which work a result is of. */
export interface Place {
  readonly step: number;
  readonly stepName: string;
  readonly item?: number;
}

/** What an item's record holds of its result. */
export type HeldItem = Pick<ItemRecord, "output" | "log">;

/** Puts into the store what does not go into a row, or an item's record, as a value. */
export class ResultHolder {
  readonly #options: HolderOptions;

  constructor(options: HolderOptions) {
    this.#options = options;
  }

  /** At once where nothing has to be stored. Rejects with MillraceError when what the step gave cannot be. */
  step(place: Place, result: StepResult): HeldResult | Promise<HeldResult> {
    const gave = result.state === "Succeeded" ? this.#gave(result) : {};
    const log = this.#log(place);
    const full =
      result.state === "Failed" ? this.message(place.stepName, result.error.message, maxMessageBytes) : undefined;
    if (!(gave instanceof Promise) && log === undefined && full === undefined) return gave;
    return Promise.all([gave, log, full]).then(([given, logged, message]) => ({
      ...given,
      ...(logged && { log: refRow(logged) }),
      ...(message && { full: message }),
    }));
  }

  item(place: Place, result: ItemResult): HeldItem | Promise<HeldItem> {
    const { store, signal } = this.#options;
    const output = result.state === "Succeeded" ? store?.itemRow(result.output, signal) : undefined;
    const log = this.#log(place);
    if (!(output instanceof Promise) && log === undefined) return output === undefined ? {} : { output };
    return Promise.all([output, log]).then(([given, logged]) => ({
      ...(given && { output: given }),
      ...(logged && { log: logged }),
    }));
  }

  /** The whole message, if it has more than `maxBytes` and can be stored. Never rejects. */
  message(stepName: string, text: string, maxBytes: number): Promise<PayloadRefRow | undefined> | undefined {
    const { store, signal } = this.#options;
    if (store === undefined || Buffer.byteLength(text) <= maxBytes) return undefined;
    return store.text(text, signal).then(refRow, this.#lost("message", stepName));
  }

  #gave(result: Extract<StepResult, { state: "Succeeded" }>): HeldResult | Promise<HeldResult> {
    const { payloads, store, signal } = this.#options;
    const output = payloads.row(result.output, signal);
    const metadata = store === undefined ? inRow(result.metadata) : store.metadataRow(result.metadata, signal);
    if (!(output instanceof Promise) && !(metadata instanceof Promise)) return { output, ...metadata };
    return Promise.all([output, metadata]).then(([row, said]: [PayloadRow, MetadataRow]) => ({ output: row, ...said }));
  }

  #log({ step, item, stepName }: Place): Promise<PayloadRef | undefined> | undefined {
    const { store, logs, signal } = this.#options;
    const text = logs?.take(step, item);
    return text === undefined ? undefined : store?.text(text, signal).catch(this.#lost("log", stepName));
  }

  #lost(what: "log" | "message", stepName: string): (error: unknown) => undefined {
    return (error) => {
      if (!this.#options.signal.aborted) this.#options.onLoss?.(what, stepName, error);
      return undefined;
    };
  }
}

function inRow(metadata: NonNullable<MetadataRow["metadata"]>): MetadataRow {
  return Object.keys(metadata).length === 0 ? {} : { metadata };
}
