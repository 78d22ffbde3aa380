import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { join, resolve } from "node:path";
import { InvalidArgumentError, Option } from "commander";
import { parseBytes } from "../api/quantities.ts";
import type { ModuleOptions } from "../processor/load.ts";
import { type CliContext, CliError, exitCodes } from "./context.ts";

/** What commander makes of {@link moduleOptions}. */
export interface ModuleFlags {
  readonly moduleCacheDir?: string;
  readonly moduleCacheSize: number;
  readonly allowAddresses: readonly string[];
  readonly insecureRegistry: readonly string[];
  readonly registryCaFile?: string;
}

const defaultCacheBytes = 1024 ** 3;

/** Where WASM modules may be fetched from, and where they are kept. */
export function moduleOptions(): readonly Option[] {
  return [
    new Option(
      "--module-cache-dir <dir>",
      "where fetched WASM modules are kept; whoever can write there chooses what runs (default: $XDG_CACHE_HOME/millrace/modules)",
    ),
    new Option("--module-cache-size <bytes>", "the most that may be kept there, such as 10Gi")
      .argParser(sizeBytes)
      .default(defaultCacheBytes, "1Gi"),
    allowAddressesOption(
      "fetch modules, and let them reach their allowedHosts, at these addresses too, such as 10.20.0.0/16; else at public ones alone",
    ),
    repeatable(
      "--insecure-registry <host[:port]>",
      "fetch modules from here by plain HTTP, or TLS that is not verified, wherever it is",
      host,
    ),
    new Option("--registry-ca-file <file>", "certificates that are trusted besides the system's, PEM"),
  ];
}

/** `--allow-addresses`. */
export function allowAddressesOption(description: string): Option {
  return repeatable("--allow-addresses <cidr>", description, addresses);
}

/** Throws CliError where the file of certificates cannot be read. */
export async function modulesFrom(flags: ModuleFlags, context: CliContext): Promise<ModuleOptions> {
  const { moduleCacheDir, moduleCacheSize, allowAddresses, insecureRegistry, registryCaFile } = flags;
  const dir = moduleCacheDir ?? defaultCacheDir(context);
  return {
    cacheBytes: moduleCacheSize,
    allowAddresses,
    insecureRegistries: insecureRegistry,
    ...(dir === undefined ? {} : { cacheDir: resolve(context.cwd, dir) }),
    ...(registryCaFile === undefined ? {} : { ca: await certificates(registryCaFile, context) }),
  };
}

/** Undefined: there is no place for it, and what is fetched stays in memory. */
function defaultCacheDir({ env }: CliContext): string | undefined {
  const cache = env.XDG_CACHE_HOME || (env.HOME && join(env.HOME, ".cache"));
  return cache ? join(cache, "millrace", "modules") : undefined;
}

async function certificates(file: string, { cwd }: CliContext): Promise<string> {
  const text = await readFile(resolve(cwd, file), "utf8").catch((error: unknown) => {
    const why = error instanceof Error ? error.message : String(error);
    throw new CliError(`--registry-ca-file ${file} cannot be read: ${why}`, exitCodes.usage, { cause: error });
  });
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  throw new CliError(
    `--registry-ca-file ${file} has no certificate in PEM (-----BEGIN CERTIFICATE-----)`,
    exitCodes.usage,
  );
}

/** May be repeated; each is as `parse` has it, which throws InvalidArgumentError. */
export function repeatable(flags: string, description: string, parse: (text: string) => string): Option {
  const collect = (text: string, before: readonly string[]) => [...before, parse(text)];
  return new Option(flags, `${description}; may be repeated`).argParser(collect).default([], "none");
}

function sizeBytes(text: string): number {
  try {
    return parseBytes(text, "size");
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** `10.20.0.0/16`, `fd00::/8`; a single address is a range of its own. */
function addresses(text: string): string {
  const [address = "", prefix, ...more] = text.split("/");
  const family = isIP(address);
  const bits = family === 4 ? 32 : 128;
  if (family !== 0 && prefix === undefined) return `${address}/${bits}`;
  if (family !== 0 && more.length === 0 && /^[0-9]{1,3}$/.test(prefix ?? "") && Number(prefix) <= bits) return text;
  throw new InvalidArgumentError("It is no range of addresses such as 10.20.0.0/16, fd00::/8 or 192.0.2.7.");
}

function host(text: string): string {
  if (/^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$/.test(text)) return text;
  throw new InvalidArgumentError(
    "It is no host such as registry.local or 127.0.0.1:5000; it has no scheme and no path.",
  );
}
