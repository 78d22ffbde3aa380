import picocolors from "picocolors";
import { pino } from "pino";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error";

export type LogFields = Readonly<Record<string, unknown>>;

/** What everything but this file knows of logging. An Error goes under the field `err`. */
export interface Logger {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  /** A logger whose every line bears these fields too. */
  child(fields: LogFields): Logger;
}

/** Where lines go; `process.stderr` is one. */
export interface LogDestination {
  write(line: string): unknown;
}

export interface LoggerOptions {
  readonly destination: LogDestination;
  /** Default info. */
  readonly level?: LogLevel;
  /** JSON: one object a line. Pretty: for people, on a terminal. Default JSON. */
  readonly format?: "JSON" | "Pretty";
}

export function createLogger(options: LoggerOptions): Logger {
  const destination = options.format === "Pretty" ? new PrettyDestination(options.destination) : options.destination;
  const settings = {
    level: options.level ?? "info",
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return pino(settings, { write: (line: string) => void destination.write(line) });
}

interface LogRecord {
  readonly time: string;
  readonly level: string;
  readonly msg?: string;
  readonly err?: { readonly stack?: string; readonly message?: string };
}

const hidden = new Set(["time", "level", "msg", "err"]);

/** `12:00:01.234 INFO  message name=value`, and an error's stack below it. */
class PrettyDestination implements LogDestination {
  readonly #destination: LogDestination;

  constructor(destination: LogDestination) {
    this.#destination = destination;
  }

  write(line: string): void {
    const record = JSON.parse(line) as LogRecord;
    const time = picocolors.dim(record.time.slice(11, 23));
    const fields = Object.entries(record)
      .filter(([name]) => !hidden.has(name))
      .map(([name, value]) => picocolors.dim(`${name}=`) + (typeof value === "string" ? value : JSON.stringify(value)));
    const head = [time, levelLabel(record.level), record.msg ?? "", ...fields].join(" ");
    const { err } = record;
    this.#destination.write(err === undefined ? `${head}\n` : `${head}\n${err.stack ?? err.message ?? ""}\n`);
  }
}

function levelLabel(level: string): string {
  const label = level.toUpperCase().padEnd(5);
  if (level === "error") return picocolors.red(label);
  if (level === "warn") return picocolors.yellow(label);
  return level === "info" ? picocolors.green(label) : picocolors.dim(label);
}
