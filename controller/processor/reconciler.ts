import type { Backend, LoadedProcessor } from "../../backends/backend.ts";
import type { Ports } from "../../engine/clock.ts";
import { MillraceError, toMillraceError } from "../../engine/errors.ts";
import { ApiError } from "../api/client.ts";
import type { SchemaCompiler } from "../api/json-schema.ts";
import type { SchemaViolation } from "../api/json-schema-messages.ts";
import { observedConditions } from "../api/observed.ts";
import type { Processor } from "../api/types.ts";
import { type Condition, findCondition } from "../runtime/conditions.ts";
import { deadline } from "../runtime/deadline.ts";
import type { EventRecorder } from "../runtime/events.ts";
import type { ObjectKey } from "../runtime/object-key.ts";
import type { Lister } from "../runtime/object-store.ts";
import type { StatusWriter } from "../runtime/status-writer.ts";
import type { ReconcileResult, Reconciler } from "../runtime/worker.ts";
import type { ConfigMapVersion, ConfigMapVersions } from "./config-maps.ts";
import { decide, probeAfterMs, retryAfterMs } from "./decide.ts";
import { bounded, probeRefusalOf, type Refusal, type RefusalReason, refusalOf } from "./refusal.ts";
import { compileSchemas } from "./response-schemas.ts";
import type { ProcessorSecrets } from "./secrets.ts";
import { backendKind, processorFacts, processorSpec } from "./spec.ts";
import { type Observation, processorStatus } from "./status.ts";
import type { Candidate, Holding, Version, Versions } from "./versions.ts";

export interface ProcessorReconcilerOptions {
  readonly ports: Ports;
  readonly processors: Lister;
  readonly backends: Pick<Backend, "load">;
  readonly versions: Versions;
  readonly configMaps: ConfigMapVersions;
  readonly secrets: ProcessorSecrets;
  readonly schemas: SchemaCompiler;
  readonly statuses: StatusWriter;
  readonly events: EventRecorder;
}

const loadTimeoutMs = 60_000;
const probeTimeoutMs = 10_000;

/** How often a ConfigMap or Secret that cannot be watched is asked for. */
const unwatchedMs = 60_000;

/** What was read before anything is decided. */
interface Gathered {
  readonly object: Processor;
  /** What the object asks for; absent when its spec cannot be read. */
  readonly candidate?: Candidate;
  readonly unreadable?: Refusal;
  /** When to look again at what nothing tells of; in milliseconds. */
  readonly lookAgainMs?: number;
}

/**
 * Processor → the version that serves, in the catalog, and conditions. Loads a new generation, or the new content of a
 * module's ConfigMap, beside the one that serves; what is refused changes nothing but the conditions.
 */
export class ProcessorReconciler implements Reconciler {
  readonly #options: ProcessorReconcilerOptions;

  constructor(options: ProcessorReconcilerOptions) {
    this.#options = options;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const object = this.#options.processors.get(key) as Processor | undefined;
    if (object === undefined) {
      this.#options.configMaps.release(key);
      this.#options.secrets.release(key);
      this.#options.versions.unload(key);
      return {};
    }
    this.#options.versions.announceNew(key);
    const gathered = await this.#gather(key, object, signal);
    const holding = this.#options.versions.holding(key);
    try {
      await this.#bring(key, gathered, holding, signal);
    } finally {
      if (!signal.aborted) await this.#writeStatus(gathered, holding, signal);
    }
    return this.#next(gathered, holding);
  }

  async #gather(key: ObjectKey, object: Processor, signal: AbortSignal): Promise<Gathered> {
    try {
      const source = await this.#sourceVersion(key, object, signal);
      const isFollowed = await this.#followSecrets(key, object, signal);
      const candidate = candidateOf(object, source?.version ?? "");
      const schemas = compileSchemas(candidate.facts, this.#options.schemas);
      if (!schemas.ok) return { object, unreadable: schemaRefusal(schemas.reason, schemas.violation) };
      const checks = schemas.checks === undefined ? {} : { checks: schemas.checks };
      const isWatched = source?.watched !== false && isFollowed;
      return { object, candidate: { ...candidate, ...checks }, ...(isWatched ? {} : { lookAgainMs: unwatchedMs }) };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ApiError)) return { object, unreadable: refusalOf(toMillraceError(error), undefined) };
      const unreadable = { reason: "LoadFailed", duration: "Transient", message: bounded(error.message) } as const;
      return { object, unreadable, lookAgainMs: unwatchedMs };
    }
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

  /** Those of the version that serves, too, as long as it does. */
  #followSecrets(key: ObjectKey, object: Processor, signal: AbortSignal): Promise<boolean> {
    const { secrets, versions } = this.#options;
    const serving = versions.holding(key).serving?.candidate.secrets ?? [];
    return secrets.follow(key, [...(object.spec.secrets ?? []), ...serving], signal);
  }

  async #bring(key: ObjectKey, gathered: Gathered, holding: Holding, signal: AbortSignal): Promise<void> {
    const { candidate, unreadable } = gathered;
    if (unreadable !== undefined) holding.refused = { fingerprint: "", refusal: unreadable, failures: 0 };
    if (candidate === undefined) return this.#waitFor(key, holding);
    const decision = decide(candidate, holding, this.#options.ports.clock.monotonic());
    if (decision.action === "Load") await this.#loadComplete(key, candidate, holding, signal);
    // Back to what serves: what was refused meanwhile is history.
    if (decision.action === "Keep") delete holding.refused;
    if (holding.serving !== undefined) {
      this.#lookForSecrets(key, holding.serving);
      await this.#probeWhenDue(holding.serving, signal);
    }
    this.#waitFor(key, holding);
  }

  /** Loads it, unless it lacks a secret: what does would take the place of one that does not. */
  async #loadComplete(key: ObjectKey, candidate: Candidate, holding: Holding, signal: AbortSignal): Promise<void> {
    const lacking = this.#options.secrets.refusal(key, candidate.secrets);
    if (lacking === undefined) return this.#load(key, candidate, holding, signal);
    // Under another fingerprint: once the secret is there, the same candidate is a new one.
    const fingerprint = `${candidate.fingerprint} ${lacking.reason}`;
    holding.refused = { fingerprint, refusal: lacking, failures: 0 };
  }

  #lookForSecrets(key: ObjectKey, version: Version): void {
    const lacking = this.#options.secrets.refusal(key, version.candidate.secrets);
    if (lacking === undefined) delete version.lacking;
    else version.lacking = lacking;
  }

  async #load(key: ObjectKey, candidate: Candidate, holding: Holding, signal: AbortSignal): Promise<void> {
    const { versions } = this.#options;
    const limit = deadline(
      loadTimeoutMs,
      `not loaded within ${loadTimeoutMs} ms`,
      this.#options.ports.scheduler,
      signal,
    );
    try {
      const version = versions.wrap(candidate, await this.#options.backends.load(candidate.spec, limit.signal));
      const worse = await this.#isWorse(version, holding.serving, signal);
      if (worse === undefined) return versions.switchTo(key, version);
      versions.drain(key, version);
      this.#refuse(candidate, holding, worse);
    } catch (error) {
      signal.throwIfAborted();
      this.#refuse(candidate, holding, refusalOf(loadError(error, limit.signal), candidate.spec.implementation));
    } finally {
      limit.release();
    }
  }

  /** An endpoint that cannot be used does not take the place of one that answers. */
  async #isWorse(version: Version, serving: Version | undefined, signal: AbortSignal): Promise<Refusal | undefined> {
    if (serving === undefined || serving.probe?.unreachable !== undefined) return undefined;
    await this.#probeWhenDue(version, signal);
    return version.probe?.unreachable;
  }

  #refuse(candidate: Candidate, holding: Holding, refusal: Refusal): void {
    const { ports } = this.#options;
    const { fingerprint, spec } = candidate;
    const failures = holding.refused?.fingerprint === fingerprint ? holding.refused.failures + 1 : 0;
    const afterMs = retryAfterMs(refusal, spec.implementation, failures, ports.random);
    const retryAt = afterMs === undefined ? {} : { retryAtMs: ports.clock.monotonic() + afterMs };
    holding.refused = { fingerprint, refusal, failures, ...retryAt };
  }

  async #probeWhenDue(version: Version, signal: AbortSignal): Promise<void> {
    if (version.probe === undefined || this.#options.ports.clock.monotonic() < version.probe.dueAtMs) return;
    await this.#probe(version, signal);
  }

  async #probe(version: Version, signal: AbortSignal): Promise<void> {
    const { clock, scheduler, random } = this.#options.ports;
    const processor: LoadedProcessor = version.caller.processor;
    const limit = deadline(probeTimeoutMs, `no answer within ${probeTimeoutMs} ms`, scheduler, signal);
    let unreachable: Refusal | undefined;
    try {
      await processor.probe?.(limit.signal);
    } catch (error) {
      signal.throwIfAborted();
      unreachable = probeRefusalOf(toMillraceError(error));
    } finally {
      limit.release();
    }
    const dueAtMs = clock.monotonic() + probeAfterMs(unreachable, random);
    version.probe = unreachable === undefined ? { dueAtMs } : { unreachable, dueAtMs };
  }

  #waitFor(key: ObjectKey, holding: Holding): void {
    const { refusal } = holding.refused ?? {};
    if (refusal !== undefined) this.#options.versions.announce(key, refusal);
  }

  async #writeStatus(gathered: Gathered, holding: Holding, signal: AbortSignal): Promise<void> {
    const { object } = gathered;
    const status = processorStatus(object, observation(object, holding), this.#options.ports.clock.now());
    const outcome = await this.#options.statuses.patch(object, { ...status }, signal);
    if (outcome.kind === "Written") this.#tell(object, outcome.object as Processor);
  }

  /** One event for each change of Ready or of what is refused. */
  #tell(before: Processor, after: Processor): void {
    for (const type of ["Ready", "Stalled"] as const) {
      const now = findCondition(observedConditions(after.status), type);
      const then = findCondition(observedConditions(before.status), type);
      if (now === undefined || sameNews(now, then)) continue;
      const isWell = type === "Ready" && now.status === "True";
      // Ready=False says the same as Stalled does, which comes after it.
      if (type === "Ready" && !isWell && findCondition(observedConditions(after.status), "Stalled") !== undefined)
        continue;
      this.#options.events.record(after, {
        type: isWell && now.reason !== "PreviousVersionServes" ? "Normal" : "Warning",
        reason: now.reason,
        message: now.message,
      });
    }
  }

  #next({ lookAgainMs }: Gathered, holding: Holding): ReconcileResult {
    const nowMs = this.#options.ports.clock.monotonic();
    const dueMs = [holding.refused?.retryAtMs, holding.serving?.probe?.dueAtMs].flatMap((atMs) =>
      atMs === undefined ? [] : Math.max(1, atMs - nowMs),
    );
    if (lookAgainMs !== undefined) dueMs.push(lookAgainMs);
    return dueMs.length === 0 ? {} : { requeueAfterMs: Math.min(...dueMs) };
  }
}

/** Throws MillraceError InvalidInput. `source` is the version of the ConfigMap that holds the module. */
function candidateOf(object: Processor, source: string): Candidate {
  const { namespace = "", name, uid = "", generation = 0 } = object.metadata;
  return {
    fingerprint: [uid, generation, source].join(" "),
    generation,
    backend: backendKind(object.spec),
    spec: processorSpec(namespace, name, object.spec),
    facts: processorFacts(name, object.spec),
    secrets: object.spec.secrets ?? [],
  };
}

function schemaRefusal(reason: RefusalReason, { message, mend }: SchemaViolation): Refusal {
  return { reason, duration: "Permanent", message: bounded(`${message}. ${mend}`) };
}

function sameNews(now: Condition, then: Condition | undefined): boolean {
  return (
    then?.status === now.status && then.reason === now.reason && then.observedGeneration === now.observedGeneration
  );
}

function observation(object: Processor, holding: Holding): Observation {
  const { serving, refused } = holding;
  const common = { generation: object.metadata.generation ?? 0, backend: backendKind(object.spec) };
  return {
    ...common,
    ...(refused === undefined ? {} : { refused: refused.refusal }),
    ...(serving === undefined ? {} : { serving: servingObservation(serving) }),
  };
}

function servingObservation({ candidate, caller, probe, lacking }: Version): NonNullable<Observation["serving"]> {
  const { module } = caller.processor;
  return {
    generation: candidate.generation,
    backend: candidate.backend,
    ...(module === undefined ? {} : { module }),
    ...(probe?.unreachable === undefined ? {} : { unreachable: probe.unreachable }),
    ...(lacking === undefined ? {} : { lacking }),
  };
}

/** What a load threw; of a load that took too long, that. */
function loadError(error: unknown, limit: AbortSignal): MillraceError {
  if (!limit.aborted) return toMillraceError(error);
  return new MillraceError("DeadlineExceeded", `the processor was ${(limit.reason as Error).message}`, {
    cause: error,
  });
}
