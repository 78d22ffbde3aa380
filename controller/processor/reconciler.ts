import type { Backend, LoadedProcessor } from "../../backends/backend.ts";
import type { Ports } from "../../engine/clock.ts";
import { toMillraceError } from "../../engine/errors.ts";
import type { SchemaCompiler } from "../api/json-schema.ts";
import { observedConditions } from "../api/observed.ts";
import type { Processor } from "../api/types.ts";
import { type Condition, findCondition } from "../runtime/conditions.ts";
import { deadline } from "../runtime/deadline.ts";
import type { EventRecorder } from "../runtime/events.ts";
import type { Logger } from "../runtime/logger.ts";
import type { ObjectKey } from "../runtime/object-key.ts";
import type { Lister } from "../runtime/object-store.ts";
import type { StatusWriter } from "../runtime/status-writer.ts";
import type { ReconcileResult, Reconciler } from "../runtime/worker.ts";
import type { ConfigMapVersions } from "./config-maps.ts";
import { decide, probeAfterMs, retryAfterMs } from "./decide.ts";
import { type Gathered, Gatherer } from "./gather.ts";
import { endedBy, probeRefusalOf, type Refusal, refusalOf } from "./refusal.ts";
import { Resolutions } from "./resolutions.ts";
import type { ProcessorSecrets } from "./secrets.ts";
import { backendKind } from "./spec.ts";
import { type Observation, processorStatus, type ServingObservation } from "./status.ts";
import type { Candidate, Holding, Version, Versions } from "./versions.ts";

export interface ProcessorReconcilerOptions {
  readonly ports: Ports;
  readonly processors: Lister;
  readonly backends: Pick<Backend, "load" | "resolve">;
  readonly versions: Versions;
  readonly configMaps: ConfigMapVersions;
  readonly secrets: ProcessorSecrets;
  readonly schemas: SchemaCompiler;
  readonly statuses: StatusWriter;
  readonly events: EventRecorder;
  readonly logger: Logger;
}

const loadTimeoutMs = 60_000;
const probeTimeoutMs = 10_000;

/**
 * Processor → the version that serves, in the catalog, and conditions. Loads a new generation, or the new content of a
 * module's ConfigMap, beside the one that serves; what is refused changes nothing but the conditions.
 */
export class ProcessorReconciler implements Reconciler {
  readonly #options: ProcessorReconcilerOptions;
  readonly #gatherer: Gatherer;

  constructor(options: ProcessorReconcilerOptions) {
    this.#options = options;
    const { ports, backends, configMaps, secrets, schemas } = options;
    const resolutions = new Resolutions({ ports, backends });
    this.#gatherer = new Gatherer({ clock: ports.clock, configMaps, secrets, schemas, resolutions });
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const object = this.#options.processors.get(key) as Processor | undefined;
    if (object === undefined) {
      this.#gatherer.release(key);
      this.#options.versions.unload(key);
      return {};
    }
    this.#options.versions.announceNew(key);
    const holding = this.#options.versions.holding(key);
    const gathered = await this.#gatherer.gather(key, object, holding.serving, signal);
    try {
      await this.#bring(key, gathered, holding, signal);
    } finally {
      if (!signal.aborted) await this.#writeStatus(gathered, holding, signal);
    }
    return this.#next(gathered, holding);
  }

  async #bring(key: ObjectKey, gathered: Gathered, holding: Holding, signal: AbortSignal): Promise<void> {
    const { candidate, unreadable } = gathered;
    if (unreadable !== undefined) holding.refused = { fingerprint: "", refusal: unreadable, failures: 0 };
    if (candidate !== undefined) await this.#decided(key, candidate, holding, signal);
    if (holding.serving !== undefined) {
      this.#lookForSecrets(key, holding.serving);
      await this.#probeWhenDue(holding.serving, signal);
    }
    this.#waitFor(key, holding);
  }

  async #decided(key: ObjectKey, candidate: Candidate, holding: Holding, signal: AbortSignal): Promise<void> {
    const decision = decide(candidate, holding, this.#options.ports.clock.monotonic());
    if (decision.action === "Load") await this.#loadComplete(key, candidate, holding, signal);
    // Back to what serves: what was refused meanwhile is history.
    if (decision.action === "Keep") delete holding.refused;
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
      this.#refuse(
        candidate,
        holding,
        refusalOf(endedBy(limit.signal, error, "the processor was"), candidate.spec.implementation),
      );
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
    const status = processorStatus(object, observation(gathered, holding), this.#options.ports.clock.now());
    const outcome = await this.#options.statuses.patch(object, { ...status }, signal);
    if (outcome.kind === "Written") this.#tell(object, outcome.object as Processor);
  }

  /** One event, and one line in the log, for each change of Ready or of what is refused. */
  #tell(before: Processor, after: Processor): void {
    for (const type of ["Ready", "Stalled"] as const) {
      const now = findCondition(observedConditions(after.status), type);
      const then = findCondition(observedConditions(before.status), type);
      if (now === undefined || sameNews(now, then)) continue;
      const isWell = type === "Ready" && now.status === "True";
      // Ready=False says the same as Stalled does, which comes after it.
      if (type === "Ready" && !isWell && findCondition(observedConditions(after.status), "Stalled") !== undefined)
        continue;
      const { reason, message } = now;
      const isNormal = isWell && reason !== "PreviousVersionServes";
      this.#options.events.record(after, { type: isNormal ? "Normal" : "Warning", reason, message });
      const { namespace, name } = after.metadata;
      const told = { processor: `${namespace}/${name}`, reason, message };
      if (isNormal) this.#options.logger.info(told, "Processor is ready");
      else this.#options.logger.warn(told, "Processor is refused");
    }
  }

  #next({ lookAgainAtMs }: Gathered, holding: Holding): ReconcileResult {
    const nowMs = this.#options.ports.clock.monotonic();
    const dueMs = [holding.refused?.retryAtMs, holding.serving?.probe?.dueAtMs, lookAgainAtMs].flatMap((atMs) =>
      atMs === undefined ? [] : Math.max(1, atMs - nowMs),
    );
    return dueMs.length === 0 ? {} : { requeueAfterMs: Math.min(...dueMs) };
  }
}

function sameNews(now: Condition, then: Condition | undefined): boolean {
  return (
    then?.status === now.status && then.reason === now.reason && then.observedGeneration === now.observedGeneration
  );
}

function observation({ object, unchecked }: Gathered, holding: Holding): Observation {
  const { serving, refused } = holding;
  const common = { generation: object.metadata.generation ?? 0, backend: backendKind(object.spec) };
  return {
    ...common,
    ...(refused === undefined ? {} : { refused: refused.refusal }),
    ...(serving === undefined ? {} : { serving: servingObservation(serving, unchecked) }),
  };
}

function servingObservation(
  { candidate, caller, probe, lacking }: Version,
  unchecked: Refusal | undefined,
): ServingObservation {
  const { module } = caller.processor;
  return {
    generation: candidate.generation,
    backend: candidate.backend,
    ...(module === undefined ? {} : { module }),
    ...(probe?.unreachable === undefined ? {} : { unreachable: probe.unreachable }),
    ...(lacking === undefined ? {} : { lacking }),
    ...(unchecked === undefined ? {} : { unchecked }),
  };
}
