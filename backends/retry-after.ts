/** The longest delay that a timer takes. */
const maxDelayMs = 2 ** 31 - 1;

/** `Retry-After` (RFC 9110): seconds, or a date in one of HTTP's three forms. Absent or malformed: undefined. */
export function retryAfterMs(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  const seconds = delayOf(value.trim(), 1000);
  if (seconds !== undefined) return seconds;
  if (!/^[A-Z][a-z]{2,8},? /.test(value)) return undefined;
  const date = Date.parse(value.endsWith("GMT") ? value : `${value} GMT`);
  return Number.isNaN(date) ? undefined : Math.min(Math.max(0, date - nowMs), maxDelayMs);
}

/** A number of units as decimal digits; undefined: not that. */
export function delayOf(digits: string, unitMs: number): number | undefined {
  return /^[0-9]{1,15}$/.test(digits) ? Math.min(Number(digits) * unitMs, maxDelayMs) : undefined;
}
