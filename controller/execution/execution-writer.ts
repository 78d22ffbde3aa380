import type { JsonObject } from "../../engine/payload.ts";
import type { Client, KubernetesObject } from "../api/client.ts";
import { executions } from "../api/kinds.ts";
import type { Condition, Execution, ExecutionStatus } from "../api/types.ts";
import { isNotFound } from "../runtime/api-errors.ts";
import { uidOf } from "./objects.ts";
import { slim } from "./slim.ts";

/** Reads and writes of Executions outside of their runs. All but {@link read} are on condition of the version that was looked at. */
export class ExecutionWriter {
  readonly #client: Client;
  readonly #observe: (object: KubernetesObject) => void;

  constructor({ client, observe }: { readonly client: Client; readonly observe: (object: KubernetesObject) => void }) {
    this.#client = client;
    this.#observe = observe;
  }

  /** As the API server has it now; undefined when it is gone or is another one of the same name. Throws ApiError. */
  async read(cached: Execution, signal: AbortSignal): Promise<Execution | undefined> {
    const { name, namespace = "" } = cached.metadata;
    try {
      const fresh = (await this.#client.get(executions, { namespace, name }, signal)) as Execution;
      return uidOf(fresh) === uidOf(cached) ? fresh : undefined;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** The whole status. Undefined: it is gone. Throws ApiError, a conflict too: decide anew. */
  async put(execution: Execution, status: ExecutionStatus, signal: AbortSignal): Promise<Execution | undefined> {
    const { name, namespace } = execution.metadata;
    const metadata = { name, ...(namespace === undefined ? {} : { namespace }), ...versionOf(execution) };
    const object = { apiVersion: execution.apiVersion, kind: execution.kind, metadata, status };
    try {
      const written = (await this.#client.update(executions, object, "status", signal)) as Execution;
      this.#observe(slim(written));
      return written;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** Rows are not in memory any more: only what changes is sent. Throws ApiError, a conflict too. */
  async say(
    { metadata }: Execution,
    said: { readonly generation: number; readonly conditions: readonly Condition[] },
    more: JsonObject,
    signal: AbortSignal,
  ): Promise<void> {
    const { name, namespace = "", resourceVersion = "" } = metadata;
    const conditions = said.conditions.map((condition) => ({ ...condition }));
    const status = { observedGeneration: said.generation, conditions, ...more };
    const patch = { type: "Merge", body: { metadata: { resourceVersion }, status } } as const;
    this.#observe(slim(await this.#client.patch(executions, { namespace, name }, patch, "status", signal)));
  }

  /** An edit at the last moment counts: it makes a conflict. Throws ApiError. */
  async delete(execution: Execution, signal: AbortSignal): Promise<void> {
    const { name, namespace = "" } = execution.metadata;
    try {
      const options = { propagationPolicy: "Background" as const, ...versionOf(execution) };
      await this.#client.delete(executions, { namespace, name }, options, signal);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}

function versionOf({ metadata }: Execution): { readonly uid?: string; readonly resourceVersion?: string } {
  const { uid, resourceVersion } = metadata;
  return { ...(uid === undefined ? {} : { uid }), ...(resourceVersion === undefined ? {} : { resourceVersion }) };
}
