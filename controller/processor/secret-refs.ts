import type { ProcessorSpec, SecretKeyRef } from "../api/types.ts";

/** Of what the backend knows a variable of WASI by. No DNS label, so that none of `spec.secrets` has such a name. */
export const variablePrefix = "env:";

/** A value of a Secret that calls get. */
export interface NamedSecret {
  /** What the backend knows it by; `env:NAME` for a variable of WASI. */
  readonly name: string;
  readonly secretKeyRef: SecretKeyRef;
  /** Of the Processor, the path of `secretKeyRef`. */
  readonly field: string;
}

/** A Secret that is read when a module is brought; with another content, another module may come. */
export interface SourceSecret {
  /** The name of the Secret. */
  readonly name: string;
  /** What it must have; absent: that is for the backend to say. */
  readonly key?: string;
  /** Of the Processor, the path of the reference. */
  readonly field: string;
}

/** All that its calls get: `spec.secrets`, and the variables of a module that come from Secrets. */
export function callSecrets(spec: ProcessorSpec): readonly NamedSecret[] {
  const own = (spec.secrets ?? []).map(({ name, secretKeyRef }, index) => {
    return { name, secretKeyRef, field: `spec.secrets[${index}].secretKeyRef` };
  });
  const variables = (spec.wasm?.capabilities?.env ?? []).flatMap(({ name, valueFrom }, index) => {
    if (valueFrom === undefined) return [];
    const field = `spec.wasm.capabilities.env[${index}].valueFrom.secretKeyRef`;
    return [{ name: `${variablePrefix}${name}`, secretKeyRef: valueFrom.secretKeyRef, field }];
  });
  return [...own, ...variables];
}

/** The pull secret and the public key. */
export function sourceSecrets({ wasm }: ProcessorSpec): readonly SourceSecret[] {
  const pull = wasm?.pullSecretRef;
  const key = wasm?.verify?.publicKeySecretRef;
  return [
    ...(pull === undefined ? [] : [{ name: pull.name, field: "spec.wasm.pullSecretRef" }]),
    ...(key === undefined ? [] : [{ ...key, field: "spec.wasm.verify.publicKeySecretRef" }]),
  ];
}
