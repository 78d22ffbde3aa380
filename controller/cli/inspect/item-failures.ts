import type { FanOutRow, StepRowError } from "../../api/types.ts";
import { IndexSet } from "../../execution/recording/index-set.ts";
import { codeWords } from "../terminal/row-words.ts";

/** Different failures that are shown below their step. */
const mostFailures = 5;

/** What went wrong with a fan-out's items, each failure once with the items that had it: `items 2-6,9: Interrupted: …`. */
export function itemFailures({ total, failed, failures = [] }: FanOutRow): readonly string[] {
  const groups = [...Map.groupBy(failures, (failure) => `${codeWords(failure)}: ${failure.message}`)];
  const shown = groups.slice(0, mostFailures);
  const more = failed - shown.reduce((sum, [, { length }]) => sum + length, 0);
  const texts = shown.map(([why, same]) => {
    const indices = new IndexSet(total);
    for (const { index } of same) indices.add(index);
    return `${same.length === 1 ? "item" : "items"} ${indices.toString()}: ${why}`;
  });
  return more > 0 && texts.length > 0 ? [...texts, `and ${more} more`] : texts;
}

/** The error of a row. A fan-out's names the items that failed, which have lines of their own where they are known. */
export function rowErrorText(error: StepRowError, items: FanOutRow | undefined): string {
  const { message } = error;
  const isKnown = items?.failures !== undefined && items.failures.length > 0;
  const itemsAt = isKnown ? message.search(/(?<=^\d+ of \d+ items failed): item /) : -1;
  return itemsAt < 0 ? `${codeWords(error)}: ${message}` : message.slice(0, itemsAt);
}
