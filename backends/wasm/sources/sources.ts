import type { Clock } from "../../../engine/clock.ts";
import { MillraceError } from "../../../engine/errors.ts";
import type { WasmModule } from "../../backend.ts";
import { ModuleNetwork, type NetworkOptions } from "../network/network.ts";
import { configMapSource, type ReadConfigMapKey } from "./config-map.ts";
import { ModuleFiles } from "./file.ts";
import { httpSource } from "./http-source.ts";
import { type Credential, CredentialStore, dockerConfigKey } from "./oci/auth.ts";
import { ociSource } from "./oci/oci-source.ts";
import { type OciReference, parseReference } from "./oci/reference.ts";
import { OciRegistry } from "./oci/registry.ts";
import { type ReadSecret, readSecretOf } from "./secret.ts";
import type { ModuleSource } from "./source.ts";

/** What {@link ModuleSources} are given. */
export interface ModuleSourcesOptions {
  readonly clock: Clock;
  /** Absent: there are no files. */
  readonly modulesDir?: string;
  readonly readConfigMapKey: ReadConfigMapKey;
  /** Absent: there are no Secrets. */
  readonly readSecret?: ReadSecret;
  readonly network?: NetworkOptions;
  readonly maxModuleBytes: number;
}

/** All sources of modules, by what a Processor says. */
export class ModuleSources implements AsyncDisposable {
  readonly #network: ModuleNetwork;
  readonly #options: ModuleSourcesOptions;
  readonly #files: ModuleFiles;
  readonly #registry: OciRegistry;

  constructor(options: ModuleSourcesOptions) {
    const { maxModuleBytes, clock } = options;
    this.#options = options;
    this.#files = new ModuleFiles(options.modulesDir, maxModuleBytes);
    this.#network = new ModuleNetwork(options.network);
    this.#registry = new OciRegistry(this.#network, { maxModuleBytes, now: () => clock.now() });
  }

  /**
   * What a Processor of this namespace names, with its credentials.
   * @throws InvalidInput (no reference, no credentials), NotFound (the Secret)
   */
  async of(namespace: string, { source, pullSecret }: WasmModule, signal: AbortSignal): Promise<ModuleSource> {
    const { readConfigMapKey, clock, maxModuleBytes: maxBytes } = this.#options;
    switch (source.kind) {
      case "File":
        return this.#files.source(source.file);
      case "ConfigMapKey":
        return configMapSource(readConfigMapKey, namespace, source, maxBytes);
      case "HTTP":
        return httpSource({ network: this.#network, url: source.url, maxBytes, now: () => clock.now() });
      case "OCI": {
        const reference = parseReference(source.reference);
        const credential =
          pullSecret === undefined ? undefined : await this.#credential(namespace, pullSecret, reference, signal);
        return ociSource({
          registry: this.#registry,
          reference,
          credential,
          ...(pullSecret === undefined ? {} : { pullSecret }),
        });
      }
    }
  }

  /** Ends its connections. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#network[Symbol.asyncDispose]();
  }

  async #credential(
    namespace: string,
    name: string,
    reference: OciReference,
    signal: AbortSignal,
  ): Promise<Credential | undefined> {
    const field = "spec.wasm.pullSecretRef";
    const data = await readSecretOf(this.#options.readSecret, { namespace, name, field }, signal);
    const config = data[dockerConfigKey];
    if (config !== undefined) return CredentialStore.parse(config, name).find(reference);
    throw new MillraceError(
      "InvalidInput",
      `${field}: the Secret ${name} has no key ${dockerConfigKey}. \`kubectl create secret docker-registry\` makes one that has.`,
    );
  }
}
