import type { VariableTypes } from "./types.ts";

/** What stands around an expression. */
export interface ExpressionSite {
  readonly field: string;
  /** Whose payload `input` is: see `Expression.frame`. */
  readonly frame: number;
  /** The step that it belongs to; absent: the Pipeline's output. */
  readonly step?: string;
  /** All steps of the Pipeline that it stands in, by name. */
  readonly steps: ReadonlyMap<string, number>;
  /** Whether it may name this step; `Finally`: that one is a step of `finally`, and it stands before them. */
  readonly visibility: (step: number) => "Visible" | "NotBefore" | "Finally";
  readonly parameters: readonly string[];
  readonly result: ResultKind;
  readonly variables: SiteVariables;
  /** What is known of the variables; absent: nothing. */
  readonly types?: VariableTypes;
}

/** What an expression must give where it stands. */
export type ResultKind = "bool" | "list" | "map" | "string" | "any";

/**
 * Which variables there are beside `parameters`, `steps` and `execution`. Run: `input`, the frame's. Item: `item` and `index`
 * too. CacheKey: `input` is a map of `digest`, `contentType`, `size` and `value` of what the step receives.
 */
export type SiteVariables = "Run" | "Item" | "CacheKey" | "ItemCacheKey";

/** How many faults of one expression are told. */
export const maxFaults = 5;

/** What is wrong with an expression, and what would be right; each a part of a sentence. */
export interface ExpressionFault {
  readonly message: string;
  readonly mend: string;
}

/** Whether there are `item` and `index`. */
export function hasItem({ variables }: ExpressionSite): boolean {
  return variables === "Item" || variables === "ItemCacheKey";
}

/** Whether `input` is what the step receives, with its digest. */
export function isCacheKey({ variables }: ExpressionSite): boolean {
  return variables === "CacheKey" || variables === "ItemCacheKey";
}
