import type { BackendKind, Implementation, LoadedProcessor, ProcessorSpec } from "../../backends/backend.ts";
import type { ByteBudget } from "../../backends/byte-budget.ts";
import { Caller, type CallerStats } from "../../backends/call.ts";
import { CheckedProcessor, type ResponseChecks } from "../../backends/checked.ts";
import { observed } from "../../backends/observed.ts";
import type { Ports } from "../../engine/clock.ts";
import type { ProcessorFacts } from "../../engine/pipeline.ts";
import { canonicalJson } from "../api/canonical-json.ts";
import type { ProcessorEntry, ProcessorVersion, Register } from "../catalog.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { keyFor, type ObjectKey, refOf } from "../runtime/object-key.ts";
import type { Refusal } from "./refusal.ts";
import type { NamedSecret } from "./secret-refs.ts";
import type { ProcessorSecrets } from "./secrets.ts";

/** What one load is of: the same content is loaded once. */
export interface Candidate {
  /** Of the object, of what holds the module and what it is brought with, and what its source names: another one means another load. */
  readonly fingerprint: string;
  readonly generation: number;
  readonly backend: BackendKind;
  readonly spec: ProcessorSpec;
  readonly facts: ProcessorFacts;
  /** What its answers are held to; absent: it declares nothing. */
  readonly checks?: ResponseChecks;
  /** Whose values its calls get. */
  readonly secrets: readonly NamedSecret[];
}

/** A loaded version that serves, or would. */
export interface Version {
  readonly candidate: Candidate;
  readonly caller: Caller;
  /** The last answer of its endpoint, and when to ask again on the monotonic clock; absent: it has none to ask. */
  probe?: { readonly unreachable?: Refusal; readonly dueAtMs: number };
  /** Why its secrets cannot be had; absent: they can. */
  lacking?: Refusal;
}

/** What this process holds of one Processor. */
export interface Holding {
  serving?: Version;
  /** Why the newest candidate does not serve; `retryAtMs` on the monotonic clock, absent: only another candidate is worth a try. */
  refused?: {
    readonly fingerprint: string;
    readonly refusal: Refusal;
    readonly failures: number;
    readonly retryAtMs?: number;
  };
}

export interface VersionsOptions {
  readonly ports: Ports;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly entries: Register<ProcessorEntry>;
  readonly budget: ByteBudget;
  readonly secrets: Pick<ProcessorSecrets, "current">;
  /** How long an old version's calls may go on after the switch, in milliseconds; default 30,000. */
  readonly drainMs?: number;
}

/**
 * The loaded versions of all Processors, and the only writer of the catalog's Processors. A new version is loaded beside the
 * old one and takes its place at once; the old one ends its calls and is disposed.
 */
export class Versions implements AsyncDisposable {
  readonly #options: VersionsOptions;
  readonly #holdings = new Map<ObjectKey, Holding>();
  readonly #draining = new Set<Promise<void>>();

  constructor(options: VersionsOptions) {
    this.#options = options;
  }

  /** How many versions are loaded, and how many old ones still end their calls. */
  get load(): { readonly serving: number; readonly draining: number } {
    let serving = 0;
    for (const holding of this.#holdings.values()) if (holding.serving !== undefined) serving += 1;
    return { serving, draining: this.#draining.size };
  }

  /** The calls of the versions that serve. */
  get calls(): CallerStats {
    let [inFlight, waiting, rejected] = [0, 0, 0];
    for (const { serving } of this.#holdings.values()) {
      if (serving === undefined) continue;
      const { stats } = serving.caller;
      inFlight += stats.inFlight;
      waiting += stats.waiting;
      rejected += stats.rejected;
    }
    return { inFlight, waiting, rejected };
  }

  holding(key: ObjectKey): Holding {
    const known = this.#holdings.get(key) ?? {};
    this.#holdings.set(key, known);
    return known;
  }

  /** Lets the catalog know that the Processor exists, unless it knows. */
  announceNew(key: ObjectKey): void {
    const { namespace = "", name } = refOf(key);
    if (this.#options.entries.get(namespace, name) === undefined) {
      this.#options.entries.set(namespace, name, { waiting: "it is being loaded", waitingReason: "Loading" });
    }
  }

  /** Lets the catalog know why nothing of the Processor serves. */
  announce(key: ObjectKey, { reason, message }: Refusal): void {
    const { namespace = "", name } = refOf(key);
    const entry = this.#options.entries.get(namespace, name);
    if (entry?.serving !== undefined) return;
    if (entry?.waitingReason === reason && entry.waiting === message) return;
    this.#options.entries.set(namespace, name, { waiting: message, waitingReason: reason });
  }

  /** Puts a loaded processor behind the limits of its spec. */
  wrap(candidate: Candidate, processor: LoadedProcessor): Version {
    const { ports, budget, drainMs, secrets } = this.#options;
    const { limits } = candidate.spec;
    const drain = drainMs === undefined ? {} : { drainMs };
    const refs = candidate.secrets;
    const key = keyFor(candidate.spec);
    const given = refs.length === 0 ? {} : { secrets: () => secrets.current(key, refs) };
    const checked = candidate.checks === undefined ? processor : new CheckedProcessor(processor, candidate.checks);
    const version = { candidate, caller: new Caller(checked, { limits, ports, budget, ...drain, ...given }) };
    return processor.probe === undefined ? version : { ...version, probe: { dueAtMs: ports.clock.monotonic() } };
  }

  /** From now on attempts go to `version`. */
  switchTo(key: ObjectKey, version: Version): void {
    const holding = this.holding(key);
    const old = holding.serving;
    holding.serving = version;
    delete holding.refused;
    const { namespace = "", name } = refOf(key);
    this.#options.entries.set(namespace, name, { serving: this.#catalogued(version) });
    if (old !== undefined) this.drain(key, old);
  }

  /** The Processor is gone. */
  unload(key: ObjectKey): void {
    const { serving } = this.#holdings.get(key) ?? {};
    this.#holdings.delete(key);
    const { namespace = "", name } = refOf(key);
    this.#options.entries.delete(namespace, name);
    if (serving !== undefined) this.drain(key, serving);
  }

  /** Disposes a version when its calls have ended; does not wait for it. */
  drain(key: ObjectKey, version: Version): void {
    const draining = version.caller[Symbol.asyncDispose]()
      .catch((error: unknown) => {
        this.#options.logger.error({ processor: key, err: error }, "a version of a Processor could not be unloaded");
      })
      .finally(() => this.#draining.delete(draining));
    this.#draining.add(draining);
  }

  /** Unloads everything and waits for the calls in flight, as long as `drainMs` allows. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const key of this.#holdings.keys()) this.unload(key);
    await Promise.all(this.#draining);
  }

  #catalogued(version: Version): ProcessorVersion {
    const { candidate, caller } = version;
    const { metrics, ports } = this.#options;
    return {
      generation: candidate.generation,
      // Those of an endpoint come and go.
      get digests() {
        return caller.processor.digests;
      },
      called: calledPart(candidate.spec.implementation),
      facts: candidate.facts,
      invoke: observed(caller.call.bind(caller), candidate.backend, metrics.stepAttempted.bind(metrics), ports.clock),
    };
  }
}

/** A module's settings are as good as another part of it: what it gave by others it would not give now. */
function calledPart(implementation: Implementation): string {
  switch (implementation.kind) {
    case "Module":
      return implementation.export;
    case "WASM": {
      const { abi, entrypoint, capabilities } = implementation;
      return canonicalJson([abi, entrypoint, { ...capabilities }]);
    }
    default:
      return "";
  }
}
