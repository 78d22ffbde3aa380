import type { KubernetesObject } from "../api/client.ts";
import type { Pipeline } from "../api/types.ts";
import { keyFor, keyOf, type ObjectKey } from "../runtime/object-key.ts";
import type { Indexer, Lister } from "../runtime/object-store.ts";
import { pipelinesOf, processorsOf } from "./named.ts";

/** The indices that {@link dependentsOfPipeline} and {@link dependentsOfProcessor} look into. */
export const indexers: { readonly processor: Indexer; readonly pipeline: Indexer } = {
  /** Finds the Pipelines whose own steps name a Processor, by `namespace/name` of it. */
  processor: (object) => keysIn(object, processorsOf((object as Pipeline).spec)),
  /** Finds the Pipelines whose own steps name a Pipeline, by `namespace/name` of it. */
  pipeline: (object) => keysIn(object, pipelinesOf((object as Pipeline).spec)),
};

/** The Pipelines that bring this one in, by themselves or through others. */
export function dependentsOfPipeline(pipelines: Lister, key: ObjectKey): ReadonlySet<ObjectKey> {
  return closureOf(pipelines, [key]).difference(new Set([key]));
}

/** The Pipelines that call this Processor, in their own steps or in those of a Pipeline that they bring in. */
export function dependentsOfProcessor(pipelines: Lister, key: ObjectKey): ReadonlySet<ObjectKey> {
  return closureOf(pipelines, [...pipelines.byIndex("processor", key)].map(keyOf));
}

/** The keys, and those of all Pipelines that name one of them, and so on: each once, as names may go round in circles. */
function closureOf(pipelines: Lister, keys: readonly ObjectKey[]): ReadonlySet<ObjectKey> {
  const found = new Set(keys);
  // A Set gives what is added to it while it is walked.
  for (const key of found) for (const object of pipelines.byIndex("pipeline", key)) found.add(keyOf(object));
  return found;
}

function keysIn({ metadata }: KubernetesObject, names: ReadonlySet<string>): readonly ObjectKey[] {
  return [...names].map((name) => keyFor({ namespace: metadata.namespace ?? "", name }));
}
