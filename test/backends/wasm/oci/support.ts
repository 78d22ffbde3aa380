// Builders: references and credentials of a test's registry, and rejections.

import { expect } from "chai";
import { ModuleNetwork } from "../../../../backends/wasm/network/network.ts";
import type { Credential } from "../../../../backends/wasm/sources/oci/auth.ts";
import { OciRegistry, type OciRegistryOptions } from "../../../../backends/wasm/sources/oci/registry.ts";
import { MillraceError } from "../../../../engine/errors.ts";
import { registryUser } from "../../../support/registry.ts";

export const never = new AbortController().signal;
export const maxModuleBytes = 1024 * 1024;
export const module = Uint8Array.from([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
export const now = Date.parse("2026-11-28T05:00:00Z");

/** Of the user that registries know which ask by Basic. */
export const credential: Credential = { kind: "Password", ...registryUser };

/** A client of registries that may be spoken to without TLS, and the network that it has. */
export function clientOf(
  insecure: readonly string[],
  options: Partial<OciRegistryOptions> & { readonly idleTimeoutMs?: number } = {},
): { readonly client: OciRegistry; readonly network: ModuleNetwork } & AsyncDisposable {
  const { idleTimeoutMs = 5000, ...rest } = options;
  const network = new ModuleNetwork({ allowInsecureRegistries: insecure, idleTimeoutMs });
  const client = new OciRegistry(network, { maxModuleBytes, now: () => now, ...rest });
  return { client, network, [Symbol.asyncDispose]: () => network[Symbol.asyncDispose]() };
}

/** What `promise` is rejected with, which must be an error of ours, and one that begins with the field where it is the user's. */
export async function rejection(promise: Promise<unknown>): Promise<MillraceError> {
  const thrown = await promise.then(
    () => expect.fail("it was not rejected"),
    (error: unknown) => error,
  );
  if (!(thrown instanceof MillraceError)) throw thrown;
  return thrown;
}
