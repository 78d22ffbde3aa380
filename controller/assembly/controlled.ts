import type { Resource } from "../api/client.ts";
import type { ObjectKey } from "../runtime/object-key.ts";
import { WorkQueue } from "../runtime/work-queue.ts";
import { type Reconciler, runWorkers, type Workers } from "../runtime/worker.ts";
import { Kind, type KindOptions } from "./kind.ts";
import type { Runtime } from "./runtime.ts";

export interface ControlledOptions extends Pick<KindOptions, "resource" | "indexers" | "transform"> {
  readonly runtime: Runtime;
  /** Empty: all. */
  readonly namespaces: readonly string[];
  /** Reconciles at once. */
  readonly concurrency: number;
  /** Told of a changed object before it is enqueued; must not throw. */
  readonly onChange?: (key: ObjectKey) => void;
}

/** One kind under control: its objects, its queue, and, once this process may write, its workers. */
export class Controlled {
  readonly resource: Resource;
  readonly kind: Kind;
  readonly queue: WorkQueue;
  readonly #options: ControlledOptions;
  #workers: Workers | undefined;

  constructor(options: ControlledOptions) {
    const { runtime, resource, indexers, transform, namespaces } = options;
    const { ports, logger, metrics } = runtime;
    const client = runtime.watchClient;
    const reflected = { ...(indexers && { indexers }), ...(transform && { transform }) };
    this.#options = options;
    this.resource = resource;
    this.kind = new Kind({ client, resource, ports, logger, metrics, ...reflected }, namespaces);
    this.queue = new WorkQueue({ name: resource.plural, ports, metrics });
    this.kind.onChange((key) => {
      options.onChange?.(key);
      this.queue.add(key);
    });
  }

  /** Starts the workers. */
  work(reconciler: Reconciler): void {
    const { concurrency, runtime } = this.#options;
    const { logger, metrics, ports } = runtime;
    this.#workers = runWorkers({ queue: this.queue, reconciler, concurrency, clock: ports.clock, logger, metrics });
  }

  /** Takes no more keys, and waits for the reconciles under way; once `impatience` aborts, they are aborted. */
  async drain(impatience: AbortSignal): Promise<void> {
    this.queue.close();
    await this.#workers?.drain(impatience);
  }
}
