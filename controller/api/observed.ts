import type { Condition as StoredCondition } from "./types.ts";

/** A condition that a controller has written: it says of which generation it speaks. */
export type ObservedCondition = StoredCondition & { readonly observedGeneration: number };

/** What the CRDs' defaults bear, so that an object is never without conditions. */
const neverTransitioned = "1970-01-01T00:00:00Z";

/** The conditions that a controller has written, without the defaults that stand in for them at first. */
export function observedConditions(
  status: { readonly conditions?: readonly StoredCondition[] } | undefined,
): readonly ObservedCondition[] {
  return (status?.conditions ?? [])
    .filter(({ lastTransitionTime }) => lastTransitionTime !== neverTransitioned)
    .map((condition) => ({ ...condition, observedGeneration: condition.observedGeneration ?? 0 }));
}
