/** RFC 3339 with six digits after the point: the API server refuses the times of Leases and Events with fewer. */
export function microTime(nowMs: number): string {
  return new Date(nowMs).toISOString().replace(/Z$/, "000Z");
}
