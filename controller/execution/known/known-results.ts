import type { Clock } from "../../../engine/clock.ts";
import type { Metadata } from "../../../engine/metadata.ts";
import type { Json, Payload } from "../../../engine/payload.ts";
import type { ProcessorRequest } from "../../../engine/processor.ts";
import type { CacheUse, KnownResult, KnownResults, Work } from "../../../engine/run/run-options.ts";
import type { PayloadRow } from "../../api/types.ts";
import type { ProcessorVersion } from "../../catalog.ts";
import type { RunPayloads } from "../recording/payloads.ts";
import { Storing } from "../recording/storing.ts";
import type { EarlierRun } from "./earlier-run.ts";
import { hexDigest, optionsText, requestDigest } from "./request-digest.ts";

export interface RunMemoryOptions {
  readonly clock: Clock;
  readonly payloads: RunPayloads;
  /** What `retryFrom` names. */
  readonly earlier?: EarlierRun;
  /** The version of a Processor that is loaded now. */
  readonly serving: (processor: string) => ProcessorVersion | undefined;
  /** Told of each result that is used. */
  readonly onUsed: (work: Work, version: ProcessorVersion, request: string) => void;
  /** Told of what could not be read or kept; the step runs, and goes on, all the same. */
  readonly onFailure: (work: Work, error: unknown) => void;
  readonly signal: AbortSignal;
}

/** What is kept of a success for a step's `cache`. */
interface Entry {
  readonly completedAtMs: number;
  /** Absent: of an Analyze step, whose payload passes through. */
  readonly output?: PayloadRow;
  readonly metadata: Metadata;
}

/**
 * Results of earlier runs, for one run: those of the Execution that `retryFrom` names, and what steps with a `cache` gave
 * in this namespace. A Processor without digests is never taken to be the same.
 */
export class RunMemory implements KnownResults {
  readonly #options: RunMemoryOptions;
  /** What the last attempt of a request ran on. */
  readonly #versions = new WeakMap<ProcessorRequest, ProcessorVersion>();
  readonly #keeping = new Storing();

  constructor(options: RunMemoryOptions) {
    this.#options = options;
  }

  /** An attempt runs on that version: its result is that version's. */
  invoked(request: ProcessorRequest, version: ProcessorVersion): void {
    this.#versions.set(request, version);
  }

  find(
    work: Work,
    request: ProcessorRequest,
    cache: CacheUse | undefined,
  ): Promise<KnownResult | undefined> | undefined {
    const { earlier, serving } = this.#options;
    if (cache === undefined && earlier?.knows(work.stepName) !== true) return undefined;
    const version = serving(work.processor);
    return version === undefined || version.digests.length === 0
      ? undefined
      : this.#find(work, request, cache, version);
  }

  keep(work: Work, request: ProcessorRequest, cache: CacheUse, output: Payload, metadata: Metadata): void {
    const version = this.#versions.get(request);
    if (version === undefined || version.digests.length === 0) return;
    const keeping = this.#keep({ work, request, cache, version, output, metadata });
    this.#keeping.add(keeping.catch((error: unknown) => this.#failed(work, error)));
  }

  /** Resolves when one more can be kept. */
  async room(): Promise<void> {
    await this.#keeping.room();
  }

  get isKeeping(): boolean {
    return this.#keeping.isBusy;
  }

  /** Resolves when nothing is being kept any more. Never rejects. */
  async settled(): Promise<void> {
    await this.#keeping.settled();
  }

  async #find(
    work: Work,
    request: ProcessorRequest,
    cache: CacheUse | undefined,
    version: ProcessorVersion,
  ): Promise<KnownResult | undefined> {
    try {
      const reused = await this.#reused(work, request, version);
      const found = reused ?? (cache && (await this.#cached(work, request, cache, version)));
      if (found !== undefined) this.#options.onUsed(work, version, requestDigest(request, version.called));
      return found;
    } catch (error) {
      this.#failed(work, error);
      return undefined;
    }
  }

  async #reused(work: Work, request: ProcessorRequest, version: ProcessorVersion): Promise<KnownResult | undefined> {
    const { earlier, payloads, signal } = this.#options;
    const { digests, called, facts } = version;
    const wanted = { work, request: requestDigest(request, called), digests, passes: facts.intent === "Analyze" };
    const found = await earlier?.find(wanted, payloads, signal);
    return found && { reason: "Reused", output: found.output ?? request.payload, metadata: found.metadata };
  }

  async #cached(
    work: Work,
    request: ProcessorRequest,
    cache: CacheUse,
    version: ProcessorVersion,
  ): Promise<KnownResult | undefined> {
    const { clock, payloads, signal } = this.#options;
    const record = await payloads.recall(keyOf(work, request, cache, version), signal);
    // Keys are digests, and what is kept under one is `#keep`'s.
    const entry = record?.value as Entry | undefined;
    if (entry === undefined || clock.now() - entry.completedAtMs >= cache.maxAgeMs) return undefined;
    const { output, metadata } = entry;
    if (version.facts.intent === "Analyze") return { reason: "Cached", output: request.payload, metadata };
    if (output === undefined || !(await payloads.isIntact(output, signal))) return undefined;
    return { reason: "Cached", output: await payloads.borrow(output, signal), metadata };
  }

  async #keep(kept: {
    readonly work: Work;
    readonly request: ProcessorRequest;
    readonly cache: CacheUse;
    readonly version: ProcessorVersion;
    readonly output: Payload;
    readonly metadata: Metadata;
  }): Promise<void> {
    const { work, request, cache, version, metadata } = kept;
    const { clock, payloads, signal } = this.#options;
    const completedAtMs = clock.now();
    const output = version.facts.intent === "Analyze" ? undefined : await payloads.itemRow(kept.output, signal);
    const entry: Entry = { completedAtMs, metadata, ...(output && { output }) };
    const record = {
      expiresAtMs: completedAtMs + cache.maxAgeMs,
      payloads: output?.payload === undefined ? [] : [output.payload.ref],
      value: entry as unknown as Json,
    };
    await payloads.remember(keyOf(work, request, cache, version), record, signal);
  }

  #failed(work: Work, error: unknown): void {
    if (!this.#options.signal.aborted) this.#options.onFailure(work, error);
  }
}

/** By what the step received; or by its `cache.key` and its options. */
function keyOf(
  { processor }: Work,
  request: ProcessorRequest,
  { key }: CacheUse,
  { digests, called }: Pick<ProcessorVersion, "digests" | "called">,
): string {
  const by =
    key === undefined
      ? ["request", requestDigest(request, called)]
      : ["key", key, optionsText(request.options), called];
  return hexDigest([processor, ...digests.toSorted(), ...by], 64);
}
