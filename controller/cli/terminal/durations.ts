/** How a duration reads: `12ms`, `3.4s`, `2m05s`, `3h07m`, `5d02h`; at most 7 characters below 1000 days. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 999.5) return `${Math.round(durationMs)}ms`;
  if (durationMs < 59_950) return `${(durationMs / 1_000).toFixed(1)}s`;
  const seconds = Math.round(durationMs / 1_000);
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m${twoDigits(seconds % 60)}s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)}h${twoDigits(minutes % 60)}m`;
  const hours = Math.round(minutes / 60);
  return `${Math.floor(hours / 24)}d${twoDigits(hours % 24)}h`;
}

function twoDigits(number: number): string {
  return String(number).padStart(2, "0");
}

/** How a size reads: `12 bytes`, `5.0 KiB`, `3.2 MiB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1_024) return `${bytes} ${bytes === 1 ? "byte" : "bytes"}`;
  const kibibytes = bytes / 1_024;
  return kibibytes < 1_000 ? `${kibibytes.toFixed(1)} KiB` : `${(kibibytes / 1_024).toFixed(1)} MiB`;
}

/** What was metered, to three digits: `950 fuel`, `12.3k fuel`, `1.05G fuel`. */
export function formatFuel(units: number): string {
  const scale = fuelScales.find(({ least }) => units >= least);
  return scale === undefined ? `${units} fuel` : `${Number((units / scale.unit).toPrecision(3))}${scale.suffix} fuel`;
}

/** A number is of the next scale as soon as it would be rounded up to it. */
const fuelScales = [
  { suffix: "T", unit: 1e12, least: 999.5e9 },
  { suffix: "G", unit: 1e9, least: 999.5e6 },
  { suffix: "M", unit: 1e6, least: 999.5e3 },
  { suffix: "k", unit: 1e3, least: 1e3 },
] as const;
