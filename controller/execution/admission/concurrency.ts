import type { Catalog, ConcurrencyRule } from "../../catalog.ts";
import { type ObjectKey, refOf } from "../../runtime/object-key.ts";

/**
 * What Pipelines say of their Executions' concurrency now. A Pipeline that is being checked, or is refused, has the rule that
 * it had before: an edit must not lift a limit for a moment.
 */
export class ConcurrencyRules {
  readonly #pipelines: Catalog["pipelines"];
  readonly #last = new Map<ObjectKey, ConcurrencyRule | undefined>();

  constructor(pipelines: Catalog["pipelines"]) {
    this.#pipelines = pipelines;
  }

  of(pipeline: ObjectKey): ConcurrencyRule | undefined {
    const { namespace = "", name } = refOf(pipeline);
    const state = this.#pipelines.get(namespace, name)?.state;
    if (state === undefined) this.#last.delete(pipeline);
    else if (state.ready) this.#last.set(pipeline, state.pipeline.concurrency);
    return this.#last.get(pipeline);
  }
}
