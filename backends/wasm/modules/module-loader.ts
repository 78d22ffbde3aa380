import { MillraceError } from "../../../engine/errors.ts";
import type { LoadedModule, ProcessorSpec, ResolvedSource, WasmModule } from "../../backend.ts";
import { digestOf } from "../sources/digest.ts";
import type { ReadSecret } from "../sources/secret.ts";
import type { LocalSource, ModuleSource } from "../sources/source.ts";
import type { ModuleSources } from "../sources/sources.ts";
import type { CachedModule, ModuleCache, ModuleRef } from "./module-cache.ts";
import { checkPin, type FoundModule, type RemoteModules, type RemoteRequest } from "./remote-modules.ts";
import { type SignatureCheck, signatureCheckOf } from "./signature-check.ts";

/** What a {@link ModuleLoader} is given. */
export interface ModuleLoaderOptions {
  readonly cache: ModuleCache;
  readonly remote: RemoteModules;
  readonly sources: ModuleSources;
  /** For public keys. Absent: there are no Secrets. */
  readonly readSecret: ReadSecret | undefined;
}

/** A module that may be called, and what is known of it. */
export interface AvailableModule {
  readonly compiled: CachedModule;
  readonly facts: LoadedModule;
}

/** Brings a Processor's module: source → policy → authority → bytes → pin → signature → disk → admission. */
export class ModuleLoader {
  readonly #options: ModuleLoaderOptions;

  constructor(options: ModuleLoaderOptions) {
    this.#options = options;
  }

  /** As `Backend.resolve`. */
  async resolve(
    spec: ProcessorSpec,
    module: WasmModule,
    signal: AbortSignal,
    before: ResolvedSource | undefined,
  ): Promise<ResolvedSource> {
    const source = await this.#options.sources.of(spec.namespace, module, signal);
    if (source.kind === "Local") return await source.resolve(signal);
    const request = { ...common(spec, module), source, key: undefined, isAtHand: () => false, hold: () => undefined };
    return await this.#options.remote.resolve(request, signal, before);
  }

  /** @param hold as of a {@link RemoteRequest} */
  async load(
    spec: ProcessorSpec,
    module: WasmModule,
    hold: RemoteRequest["hold"],
    signal: AbortSignal,
  ): Promise<AvailableModule> {
    const { cache, sources } = this.#options;
    const source = await sources.of(spec.namespace, module, signal);
    const key = await signatureCheckOf(this.#options.readSecret, spec.namespace, module, signal);
    const isAtHand = (digest: string) => cache.has(refOf(module, digest));
    const found =
      source.kind === "Local"
        ? await readLocal(source, module, key, signal)
        : await this.#options.remote.take({ ...common(spec, module), source, key, isAtHand, hold }, signal);
    const bytes = () => (found.bytes === undefined ? Promise.reject(dropped(source)) : Promise.resolve(found.bytes));
    const owner = { namespace: spec.namespace, processor: spec.name };
    const compiled = await cache.get({ ref: refOf(module, found.digest), owner, bytes }, signal);
    return { compiled, facts: factsOf(source, found, compiled) };
  }
}

function common(
  { namespace, name }: ProcessorSpec,
  { pullPolicy, digest }: WasmModule,
): Pick<RemoteRequest, "namespace" | "processor" | "policy" | "pin"> {
  return { namespace, processor: name, policy: pullPolicy, pin: digest };
}

async function readLocal(
  source: LocalSource,
  module: WasmModule,
  key: SignatureCheck | undefined,
  signal: AbortSignal,
): Promise<FoundModule> {
  const bytes = await source.read(signal);
  const digest = await digestOf(bytes);
  checkPin(module.digest, digest, source.name);
  key?.check(await source.signatures(signal), bytes, source.name);
  return { digest, bytes };
}

function refOf({ abi, entrypoint, limits }: WasmModule, digest: string): ModuleRef {
  return { digest, abi, entrypoint, maxMemoryBytes: limits.maxMemoryBytes };
}

/** Between the question whether it is in memory and the use of it. */
function dropped(source: ModuleSource): MillraceError {
  return new MillraceError(
    "Unavailable",
    `The WASM module of ${source.name} left the cache while it was loaded; it is fetched with the next try.`,
  );
}

function factsOf(source: ModuleSource, found: FoundModule, compiled: CachedModule): LoadedModule {
  return {
    digest: found.digest,
    bytes: compiled.bytes,
    source: source.name,
    ...(found.reference === undefined ? {} : { reference: found.reference }),
    abi: compiled.abi,
    imports: compiled.imports,
    exports: compiled.exports,
  };
}
