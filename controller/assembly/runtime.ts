import { collectDefaultMetrics, Registry } from "prom-client";
import { ByteBudget } from "../../backends/byte-budget.ts";
import type { Ports } from "../../engine/clock.ts";
import type { Client } from "../api/client.ts";
import { SchemaCompiler } from "../api/json-schema.ts";
import { createEventRecorder, type EventRecorder } from "../runtime/events.ts";
import { createHttpClient } from "../runtime/http-client.ts";
import { HttpTransport } from "../runtime/http-transport.ts";
import type { loadKubeConfig } from "../runtime/kube-config.ts";
import type { Logger } from "../runtime/logger.ts";
import { createMetrics, type Metrics } from "../runtime/metrics.ts";

/** What `loadKubeConfig` gives. */
export type ClusterConfig = ReturnType<typeof loadKubeConfig>;

export interface RuntimeOptions {
  readonly config: ClusterConfig;
  readonly ports: Ports;
  readonly logger: Logger;
  /** Of Millrace. */
  readonly version: string;
  /** This process, unique among all that ever ran. */
  readonly replica: string;
}

/** What all parts of the controller share. */
export interface Runtime extends AsyncDisposable {
  readonly ports: Ports;
  readonly logger: Logger;
  readonly replica: string;
  readonly client: Client;
  /** For watches alone: each holds a connection, and they must not take those of the calls. */
  readonly watchClient: Client;
  readonly metrics: Metrics;
  readonly registry: Registry;
  readonly events: EventRecorder;
  readonly schemas: SchemaCompiler;
  readonly budget: ByteBudget;
}

/** Three kinds in a few dozen namespaces, and the ConfigMaps that Processors name. */
const watchConnections = 256;

export function createRuntime(options: RuntimeOptions): Runtime {
  const { config, ports, logger, version, replica } = options;
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const metrics = createMetrics(registry);
  const onCall = metrics.apiCalled.bind(metrics);
  const calls = new HttpTransport({ config, ports });
  const watches = new HttpTransport({ config, ports, connections: watchConnections });
  const client = createHttpClient({ transport: calls, ports, version, onCall });
  const events = createEventRecorder({ client, ports, logger, metrics, instance: replica });
  return {
    ports,
    logger,
    replica,
    client,
    watchClient: createHttpClient({ transport: watches, ports, version, onCall }),
    metrics,
    registry,
    events,
    schemas: new SchemaCompiler(),
    budget: new ByteBudget(),
    [Symbol.asyncDispose]: async () => {
      await events[Symbol.asyncDispose]();
      await Promise.all([calls[Symbol.asyncDispose](), watches[Symbol.asyncDispose]()]);
    },
  };
}
