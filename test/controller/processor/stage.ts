import type { LoadedProcessor, ProcessorSpec, ResolvedSource } from "../../../backends/backend.ts";
import { ByteBudget } from "../../../backends/byte-budget.ts";
import type { Client, KubernetesObject, Patch } from "../../../controller/api/client.ts";
import { SchemaCompiler } from "../../../controller/api/json-schema.ts";
import { processors } from "../../../controller/api/kinds.ts";
import type { Processor } from "../../../controller/api/types.ts";
import { type ProcessorEntry, Register } from "../../../controller/catalog.ts";
import type { ConfigMapVersion, ConfigMapVersions } from "../../../controller/processor/config-maps.ts";
import { ProcessorReconciler } from "../../../controller/processor/reconciler.ts";
import { ProcessorSecrets } from "../../../controller/processor/secrets.ts";
import { Versions } from "../../../controller/processor/versions.ts";
import type { EventNote } from "../../../controller/runtime/events.ts";
import type { Logger } from "../../../controller/runtime/logger.ts";
import { noMetrics } from "../../../controller/runtime/metrics.ts";
import { ObjectStore } from "../../../controller/runtime/object-store.ts";
import { StatusWriter } from "../../../controller/runtime/status-writer.ts";
import type { Ports } from "../../../engine/clock.ts";
import { noMetadata } from "../../../engine/metadata.ts";
import { textPayload } from "../../../engine/payload.ts";
import { VirtualTime } from "../../support/virtual-time.ts";
import { apiProcessor, apiSpec, ManualProcessor } from "./builders.ts";
import { FakeServer } from "./fake-server.ts";

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
export const key = "team/words";
export const never = new AbortController().signal;
export const request = { payload: textPayload("in"), metadata: noMetadata, options: {} };

/** A Processor's controller with a scripted backend, in virtual time; the API server takes every status. */
export class Stage {
  readonly time = new VirtualTime();
  readonly store = new ObjectStore();
  readonly entries = new Register<ProcessorEntry>();
  readonly events: EventNote[] = [];
  readonly loads: ProcessorSpec[] = [];
  writes = 0;
  source: ConfigMapVersion = { version: "absent", watched: true };
  load: (spec: ProcessorSpec) => Promise<LoadedProcessor> = async () => new ManualProcessor("sha256:first");
  /** What the backend says of sources; rejects with what it throws. */
  resolve: (spec: ProcessorSpec, before?: ResolvedSource) => Promise<ResolvedSource> = async () => ({ version: "" });
  /** How often a source was asked. */
  asked = 0;
  readonly secretServer = new FakeServer("Secret");
  /** Whose Secrets have changed. */
  readonly changed: string[] = [];
  readonly secrets: ProcessorSecrets;
  readonly versions: Versions;
  readonly reconciler: ProcessorReconciler;

  readonly #isVirtual: boolean;

  /** @param given default: virtual time, which each reconcile drives */
  constructor(given?: Ports) {
    const ports = given ?? this.time;
    this.#isVirtual = given === undefined;
    const budget = new ByteBudget();
    const common = { ports, logger: silent, metrics: noMetrics };
    const onChange = (keys: Iterable<string>) => this.changed.push(...keys);
    const secrets = new ProcessorSecrets({ ...common, client: this.secretServer.client, onChange });
    this.secrets = secrets;
    this.versions = new Versions({ ...common, budget, entries: this.entries, secrets });
    this.reconciler = new ProcessorReconciler({
      ports,
      logger: silent,
      processors: this.store,
      backends: {
        load: (spec) => {
          this.loads.push(spec);
          return this.load(spec);
        },
        resolve: (spec, _signal, before) => {
          this.asked += 1;
          return this.resolve(spec, before);
        },
      },
      versions: this.versions,
      configMaps: { release() {}, versionFor: async () => this.source } as unknown as ConfigMapVersions,
      secrets,
      schemas: new SchemaCompiler(),
      statuses: new StatusWriter({
        client: this.#client(),
        resource: processors,
        ports,
        logger: silent,
        onWritten: (object) => this.store.set(object),
      }),
      events: {
        record: (_: KubernetesObject, note: EventNote) => void this.events.push(note),
        [Symbol.asyncDispose]: async () => {},
      },
    });
  }

  /** Puts the object, with the status that it has. */
  put(generation: number, spec = apiSpec()): void {
    this.store.set(apiProcessor(generation, spec, (this.store.get(key) as Processor | undefined)?.status));
  }

  reconcile(): Promise<{ readonly requeueAfterMs?: number }> {
    const reconciled = this.reconciler.reconcile(key, never);
    return this.#isVirtual ? this.time.drive(reconciled) : reconciled;
  }

  get serving(): NonNullable<ProcessorEntry["serving"]> {
    const { serving } = this.entries.get("team", "words") ?? {};
    if (serving === undefined) throw new Error("nothing serves");
    return serving;
  }

  condition(type: string): string {
    const conditions = (this.store.get(key) as Processor).status?.conditions ?? [];
    const found = conditions.find((condition) => condition.type === type);
    return found === undefined ? "absent" : `${found.status}/${found.reason}`;
  }

  #client(): Client {
    const patch = async (_: unknown, __: unknown, { body }: Patch): Promise<KubernetesObject> => {
      this.writes += 1;
      const object = this.store.get(key) as KubernetesObject;
      const { status } = body as { status: Record<string, unknown> };
      const merged = { ...(object.status as object), ...status };
      const kept = Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== null));
      return { ...object, status: kept };
    };
    return { patch } as unknown as Client;
  }
}
