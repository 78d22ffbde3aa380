import { LRUCache } from "lru-cache";
import type { Ports } from "../../engine/clock.ts";
import type { JsonObject } from "../../engine/payload.ts";
import type { Client, KubernetesObject } from "../api/client.ts";
import { events } from "../api/kinds.ts";
import { isNotFound } from "./api-errors.ts";
import type { Logger } from "./logger.ts";
import { type Metrics, noMetrics } from "./metrics.ts";
import { microTime } from "./micro-time.ts";

/** Something that happened to an object, as `kubectl describe` shows it. */
export interface EventNote {
  readonly type: "Normal" | "Warning";
  /** CamelCase and stable. */
  readonly reason: string;
  /** Cut at 1 KiB, the API's limit. */
  readonly message: string;
}

export interface EventRecorder extends AsyncDisposable {
  /** Returns at once and never throws; best effort: an event that cannot be written is dropped and counted. */
  record(object: KubernetesObject, note: EventNote): void;
}

export interface EventRecorderOptions {
  readonly client: Client;
  readonly ports: Ports;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /** The replica, for `reportingInstance`. */
  readonly instance: string;
}

/** Shown as where an event is from. */
const component = "millrace.dev/millrace";
const maxMessageChars = 1024;
const maxNameChars = 253;

/** client-go's: what is the same within ten minutes is counted, not written again. */
const seriesMs = 600_000;
/** More different messages of one reason than that within ten minutes become one series. */
const maxSimilar = 10;
/** An object may have so many events at once, and one more every five minutes. */
const burst = 25;
const refillMs = 300_000;
/** Events that wait to be written, over all objects. */
const maxQueued = 1_000;
/** Series, and objects, that are remembered. */
const maxRemembered = 4_096;

interface Series {
  readonly object: KubernetesObject;
  readonly type: EventNote["type"];
  readonly reason: string;
  readonly message: string;
  readonly firstMs: number;
  lastMs: number;
  count: number;
  /** Set once it is written. */
  name: string | undefined;
  queued: boolean;
}

interface Allowance {
  tokens: number;
  atMs: number;
  /** Different messages by type and reason, and since when they are counted. */
  readonly similar: Map<string, { sinceMs: number; messages: Set<string> }>;
}

/** Writes events.k8s.io/v1 Events one after another, so that they never compete with status writes for more than one connection. */
export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  return new ApiEventRecorder(options);
}

class ApiEventRecorder implements EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #metrics: Metrics;
  readonly #series = new LRUCache<string, Series>({ max: maxRemembered });
  readonly #allowances = new LRUCache<string, Allowance>({ max: maxRemembered });
  readonly #queue: Series[] = [];
  readonly #abort = new AbortController();
  #writing: Promise<void> | undefined;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#metrics = options.metrics ?? noMetrics;
  }

  record(object: KubernetesObject, note: EventNote): void {
    if (this.#abort.signal.aborted) return;
    const series = this.#seriesFor(object, note);
    series.count++;
    series.lastMs = this.#options.ports.clock.now();
    if (series.queued) return;
    const refusal = this.#refusal(object);
    if (refusal !== undefined) {
      this.#metrics.eventDropped(refusal);
      return;
    }
    series.queued = true;
    this.#queue.push(series);
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Gives up on what is not written yet: a shutdown does not wait for events. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort(new Error("the event recorder was closed"));
    await this.#writing;
  }

  #seriesFor(object: KubernetesObject, note: EventNote): Series {
    const nowMs = this.#options.ports.clock.now();
    const combined = this.#isOneOfMany(object, note);
    const text = combined ? `(combined from similar events): ${note.message}` : note.message;
    const message = text.length > maxMessageChars ? `${text.slice(0, maxMessageChars - 1)}…` : text;
    const identity = [object.metadata.uid, note.type, note.reason, combined ? "" : message];
    const key = JSON.stringify(identity);
    const known = this.#series.get(key);
    if (known !== undefined && nowMs - known.lastMs < seriesMs) return known;
    const { type, reason } = note;
    const times = { firstMs: nowMs, lastMs: nowMs };
    const series: Series = { object, type, reason, message, ...times, count: 0, name: undefined, queued: false };
    this.#series.set(key, series);
    return series;
  }

  #isOneOfMany(object: KubernetesObject, note: EventNote): boolean {
    const nowMs = this.#options.ports.clock.now();
    const { similar } = this.#allowanceOf(object);
    const key = `${note.type}/${note.reason}`;
    let group = similar.get(key);
    if (group === undefined || nowMs - group.sinceMs > seriesMs) {
      group = { sinceMs: nowMs, messages: new Set() };
      similar.set(key, group);
    }
    if (group.messages.size <= maxSimilar) group.messages.add(note.message);
    return group.messages.size > maxSimilar;
  }

  #refusal(object: KubernetesObject): "QueueFull" | "RateLimited" | undefined {
    if (this.#queue.length >= maxQueued) return "QueueFull";
    return this.#spend(object) ? undefined : "RateLimited";
  }

  #spend(object: KubernetesObject): boolean {
    const allowance = this.#allowanceOf(object);
    const nowMs = this.#options.ports.clock.monotonic();
    allowance.tokens = Math.min(burst, allowance.tokens + (nowMs - allowance.atMs) / refillMs);
    allowance.atMs = nowMs;
    if (allowance.tokens < 1) return false;
    allowance.tokens--;
    return true;
  }

  #allowanceOf(object: KubernetesObject): Allowance {
    const uid = object.metadata.uid ?? "";
    const known = this.#allowances.get(uid);
    if (known) return known;
    const allowance = { tokens: burst, atMs: this.#options.ports.clock.monotonic(), similar: new Map() };
    this.#allowances.set(uid, allowance);
    return allowance;
  }

  async #writeAll(): Promise<void> {
    for (let series = this.#queue.shift(); series !== undefined; series = this.#queue.shift()) {
      series.queued = false;
      try {
        await this.#write(series);
      } catch (error) {
        if (this.#abort.signal.aborted) return;
        this.#metrics.eventDropped("Failed");
        this.#options.logger.debug({ reason: series.reason, err: error }, "an event could not be written");
      }
    }
  }

  async #write(series: Series): Promise<void> {
    if (series.name !== undefined && (await this.#count(series, series.name))) return;
    const { client, instance } = this.#options;
    const namespace = namespaceOf(series.object);
    const event = eventBody(series, this.#newName(series.object), instance);
    const written = await client.create(events, event, { namespace }, this.#abort.signal);
    series.name = written.metadata.name;
  }

  /** False when the event has expired on the server and must be created anew. */
  async #count(series: Series, name: string): Promise<boolean> {
    const body = { series: { count: series.count, lastObservedTime: microTime(series.lastMs) } };
    const ref = { namespace: namespaceOf(series.object), name };
    try {
      await this.#options.client.patch(events, ref, { type: "Merge", body }, undefined, this.#abort.signal);
      return true;
    } catch (error) {
      if (!isNotFound(error)) throw error;
      return false;
    }
  }

  #newName(object: KubernetesObject): string {
    const { clock, random } = this.#options.ports;
    const suffix = `${clock.now().toString(16)}${Math.floor(random() * 2 ** 32)
      .toString(16)
      .padStart(8, "0")}`;
    return `${object.metadata.name.slice(0, maxNameChars - suffix.length - 1)}.${suffix}`;
  }
}

function eventBody(series: Series, name: string, instance: string): JsonObject {
  const { object, type, reason, message, count } = series;
  const { apiVersion, kind, metadata } = object;
  return {
    apiVersion: `${events.group}/${events.version}`,
    kind: events.kind,
    metadata: { name, namespace: namespaceOf(object) },
    regarding: {
      apiVersion,
      kind,
      name: metadata.name,
      ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
      ...(metadata.uid === undefined ? {} : { uid: metadata.uid }),
      ...(metadata.resourceVersion === undefined ? {} : { resourceVersion: metadata.resourceVersion }),
    },
    type,
    reason,
    // Required by the API; what was done is what the reason says.
    action: reason,
    note: message,
    eventTime: microTime(series.firstMs),
    ...(count > 1 ? { series: { count, lastObservedTime: microTime(series.lastMs) } } : {}),
    reportingController: component,
    reportingInstance: instance,
  };
}

/** Events of cluster-scoped objects live in `default`. */
function namespaceOf(object: KubernetesObject): string {
  return object.metadata.namespace ?? "default";
}
