import type { Clock } from "../../engine/clock.ts";
import { toMillraceError } from "../../engine/errors.ts";
import { ApiError } from "../api/client.ts";
import type { SchemaCompiler } from "../api/json-schema.ts";
import type { SchemaViolation } from "../api/json-schema-messages.ts";
import type { Processor } from "../api/types.ts";
import type { ObjectKey } from "../runtime/object-key.ts";
import type { ConfigMapVersion, ConfigMapVersions } from "./config-maps.ts";
import { bounded, type Refusal, type RefusalReason, refusalOf } from "./refusal.ts";
import type { Resolutions } from "./resolutions.ts";
import { compileSchemas } from "./response-schemas.ts";
import { callSecrets, sourceSecrets } from "./secret-refs.ts";
import type { ProcessorSecrets } from "./secrets.ts";
import { backendKind, processorFacts, processorSpec } from "./spec.ts";
import type { Candidate, Version } from "./versions.ts";

/** What was read before anything is decided. */
export interface Gathered {
  readonly object: Processor;
  /** What the object asks for; absent when its spec cannot be read, or its source was never told. */
  readonly candidate?: Candidate;
  readonly unreadable?: Refusal;
  /** Why it cannot be told whether the source names another module than that of the candidate. */
  readonly unchecked?: Refusal;
  /** When to look again at what nothing tells of, on the monotonic clock. */
  readonly lookAgainAtMs?: number;
}

export interface GathererOptions {
  readonly clock: Pick<Clock, "monotonic">;
  readonly configMaps: ConfigMapVersions;
  readonly secrets: ProcessorSecrets;
  readonly schemas: SchemaCompiler;
  readonly resolutions: Resolutions;
}

/** How often a ConfigMap or Secret that cannot be watched is asked for. */
const unwatchedMs = 60_000;

/** Reads all that a Processor names, and keeps following it. */
export class Gatherer {
  readonly #options: GathererOptions;

  constructor(options: GathererOptions) {
    this.#options = options;
  }

  /** @param serving the version that serves: what it gets is followed as long as it does */
  async gather(
    key: ObjectKey,
    object: Processor,
    serving: Version | undefined,
    signal: AbortSignal,
  ): Promise<Gathered> {
    try {
      const source = await this.#sourceVersion(key, object, signal);
      const isFollowed = await this.#followSecrets(key, object, serving, signal);
      const dueAtMs = source?.watched !== false && isFollowed ? [] : [this.#inMs(unwatchedMs)];
      return lookingAgain(await this.#candidate(key, object, source?.version ?? "", dueAtMs, signal), dueAtMs);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ApiError)) return { object, unreadable: refusalOf(toMillraceError(error), undefined) };
      const unreadable = { reason: "LoadFailed", duration: "Transient", message: bounded(error.message) } as const;
      return lookingAgain({ object, unreadable }, [this.#inMs(unwatchedMs)]);
    }
  }

  /** The Processor is gone. */
  release(key: ObjectKey): void {
    this.#options.configMaps.release(key);
    this.#options.secrets.release(key);
    this.#options.resolutions.release(key);
  }

  async #sourceVersion(key: ObjectKey, object: Processor, signal: AbortSignal): Promise<ConfigMapVersion | undefined> {
    const { configMaps } = this.#options;
    const ref = object.spec.wasm?.source.configMapKeyRef;
    if (ref === undefined) {
      configMaps.release(key);
      return undefined;
    }
    return configMaps.versionFor(key, { namespace: object.metadata.namespace ?? "", name: ref.name }, signal);
  }

  #followSecrets(
    key: ObjectKey,
    { spec }: Processor,
    serving: Version | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    const ofCalls = [...callSecrets(spec), ...(serving?.candidate.secrets ?? [])];
    const names = [
      ...ofCalls.map(({ secretKeyRef }) => secretKeyRef.name),
      ...sourceSecrets(spec).map(({ name }) => name),
    ];
    return this.#options.secrets.follow(key, names, signal);
  }

  /** Throws MillraceError InvalidInput. `dueAtMs` takes when the source is to be asked again. */
  async #candidate(
    key: ObjectKey,
    object: Processor,
    source: string,
    dueAtMs: number[],
    signal: AbortSignal,
  ): Promise<Gathered> {
    const { schemas, secrets, resolutions } = this.#options;
    const ofSource = sourceSecrets(object.spec);
    const base = baseOf(object, source, secrets.versions(key, ofSource));
    const described = describe(object);
    const compiled = compileSchemas(described.facts, schemas);
    if (!compiled.ok) return { object, unreadable: schemaRefusal(compiled.reason, compiled.violation) };
    const lacking = secrets.sourceRefusal(key, ofSource);
    if (lacking !== undefined) return { object, unreadable: lacking };
    const { version, refusal, dueAtMs: due } = await resolutions.current(key, base, described.spec, signal);
    if (due !== undefined) dueAtMs.push(due);
    if (version === undefined) return refusal === undefined ? { object } : { object, unreadable: refusal };
    const checks = compiled.checks === undefined ? {} : { checks: compiled.checks };
    const candidate = { ...described, ...checks, fingerprint: `${base} ${version}` };
    return {
      object,
      candidate,
      ...(refusal === undefined ? {} : { unchecked: { ...refusal, duration: "Transient" } }),
    };
  }

  #inMs(delayMs: number): number {
    return this.#options.clock.monotonic() + delayMs;
  }
}

function lookingAgain(gathered: Gathered, dueAtMs: readonly number[]): Gathered {
  return dueAtMs.length === 0 ? gathered : { ...gathered, lookAgainAtMs: Math.min(...dueAtMs) };
}

/** All that the candidate hangs on besides what its source names. */
function baseOf({ metadata }: Processor, source: string, secrets: string): string {
  return [metadata.uid ?? "", metadata.generation ?? 0, source, secrets].join(" ");
}

/** Throws MillraceError InvalidInput. */
function describe({ metadata, spec }: Processor): Omit<Candidate, "fingerprint" | "checks"> {
  const { namespace = "", name, generation = 0 } = metadata;
  return {
    generation,
    backend: backendKind(spec),
    spec: processorSpec(namespace, name, spec),
    facts: processorFacts(name, spec),
    secrets: callSecrets(spec),
  };
}

function schemaRefusal(reason: RefusalReason, { message, mend }: SchemaViolation): Refusal {
  return { reason, duration: "Permanent", message: bounded(`${message}. ${mend}`) };
}
