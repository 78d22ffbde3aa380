import { MillraceError } from "../../engine/errors.ts";

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;
const durationPattern = /^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/;
const durationPart = /([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)/g;

/**
 * The milliseconds of a duration such as `250ms`, `1.5s` or `1h30m`, rounded up to a whole one.
 * Throws MillraceError InvalidInput, naming `field`, for anything else and for zero.
 */
export function parseDurationMs(text: string, field: string): number {
  let totalMs = 0;
  if (durationPattern.test(text)) {
    for (const [, amount, unit] of text.matchAll(durationPart)) totalMs += Number(amount) * unitMs[unit as "ms"];
  }
  if (totalMs > 0) return Math.ceil(totalMs);
  throw new MillraceError(
    "InvalidInput",
    `${field}: ${JSON.stringify(text)} is not a duration above zero; write for example 250ms, 30s, 1.5m or 1h30m`,
  );
}

const unitBytes = {
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
} as const;
const quantityPattern = /^([0-9]+(?:\.[0-9]+)?)(k|M|G|Ki|Mi|Gi)?$/;

/**
 * The bytes of a quantity such as `4Mi`, `1.5k` or `4096`, rounded up to a whole one.
 * Throws MillraceError InvalidInput, naming `field`, for anything else and for zero.
 */
export function parseBytes(quantity: string | number, field: string): number {
  const match = quantityPattern.exec(String(quantity));
  const bytes = match === null ? 0 : Math.ceil(Number(match[1]) * unitBytes[(match[2] ?? "") as "k"]);
  if (bytes > 0 && Number.isSafeInteger(bytes)) return bytes;
  throw new MillraceError(
    "InvalidInput",
    `${field}: ${JSON.stringify(quantity)} is not a size above zero; write for example 4096, 64Ki, 4Mi or 1Gi`,
  );
}
