import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { MillraceError } from "../../../engine/errors.ts";
import { ApiError, type Client, type KubernetesObject } from "../../api/client.ts";
import { executions, leases, serviceAccounts } from "../../api/kinds.ts";
import type { Execution } from "../../api/types.ts";
import { payloadAudience } from "../../payloads/access.ts";
import { refusalOfServer } from "../../payloads/addresses.ts";
import { payloadEndpointAnnotation } from "../../payloads/endpoint.ts";
import { RemotePayloads } from "../../payloads/remote.ts";
import { isNotFound } from "../../runtime/api-errors.ts";
import { CredentialSource } from "../../runtime/credentials.ts";
import { createHttpClient } from "../../runtime/http-client.ts";
import { HttpTransport } from "../../runtime/http-transport.ts";
import { KubeConfigError, loadKubeConfig, namespaceOf } from "../../runtime/kube-config.ts";
import { type CliContext, CliError, exitCodes } from "../context.ts";

/** Which cluster, and where in it. */
export interface ClusterFlags {
  readonly namespace?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** How payloads are reached, besides. */
export interface PayloadFlags extends ClusterFlags {
  readonly server?: string;
  readonly certificateAuthority?: string;
  readonly leaseNamespace: string;
  readonly serviceAccount: string;
}

/** Adds `-n`, `--kubeconfig` and `--context`. */
export function addClusterOptions(command: Command, kind = "Execution"): Command {
  return command
    .option("-n, --namespace <namespace>", `namespace of the ${kind} (default: that of the kubeconfig's context)`)
    .option("--kubeconfig <file>", "kubeconfig to use (default: as kubectl)")
    .option("--context <name>", "context of the kubeconfig");
}

/** Adds what says how payloads are reached. */
export function addPayloadOptions(command: Command): Command {
  return command
    .option("--server <url>", "URL of the controller's payload endpoint (default: as its Lease says)")
    .option("--certificate-authority <file>", "PEM of the authority that signed the endpoint's certificate")
    .addOption(
      new Option("--lease-namespace <namespace>", "where the controller's Lease is").default("millrace-system"),
    )
    .addOption(
      new Option("--service-account <name>", "whom to ask as, where the kubeconfig has no token").default("default"),
    );
}

/** The shortest that the API server grants. */
const tokenSeconds = 600;

/** A cluster as the kubeconfig's user sees it. */
export class Cluster implements AsyncDisposable {
  readonly client: Client;
  /** That of the flags, else of the kubeconfig's context. */
  readonly namespace: string;
  readonly #context: CliContext;
  readonly #config: ReturnType<typeof loadKubeConfig>;
  readonly #transport: HttpTransport;

  /** Throws KubeConfigError. */
  constructor(flags: ClusterFlags, context: CliContext) {
    const { env, ports, version, cwd } = context;
    const { kubeconfig, context: name } = flags;
    this.#context = context;
    this.#config = loadKubeConfig(env, {
      ...(kubeconfig && { kubeconfig: resolve(cwd, kubeconfig) }),
      ...(name && { context: name }),
    });
    this.#transport = new HttpTransport({ config: this.#config, ports });
    this.client = createHttpClient({ transport: this.#transport, ports, version });
    this.namespace = flags.namespace ?? namespaceOf(this.#config);
  }

  /** Throws CliError when there is none, ApiError. */
  async execution(name: string): Promise<Execution> {
    const { namespace } = this;
    try {
      return (await this.client.get(executions, { namespace, name }, this.#context.interrupted)) as Execution;
    } catch (error) {
      if (!isNotFound(error)) throw error;
      throw new CliError(
        `there is no Execution "${name}" in namespace ${namespace}; see: kubectl get mexec -n ${namespace}`,
      );
    }
  }

  /** `what` is to be read or added: for the message when no endpoint is known. Throws CliError, ApiError. */
  async payloads(flags: PayloadFlags, what: string): Promise<RemotePayloads> {
    const server = flags.server ?? (await this.#discover(flags.leaseNamespace, what));
    const refusal = refusalOfServer(server);
    if (refusal !== undefined) throw new CliError(`no token is sent to the payload endpoint ${server}: ${refusal}`);
    const token = await this.#token(flags.serviceAccount);
    const { scheduler } = this.#context.ports;
    const file = flags.certificateAuthority;
    if (file === undefined) return new RemotePayloads({ server, token, scheduler });
    const authority = await readFile(resolve(this.#context.cwd, file), "utf8");
    return new RemotePayloads({ server, token, scheduler, authority });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport[Symbol.asyncDispose]();
  }

  /** What the freshest Lease that names an endpoint says. */
  async #discover(namespace: string, what: string): Promise<string> {
    const { items } = await this.client.list(leases, { namespace }, this.#context.interrupted);
    const named = items.filter(({ metadata }) => metadata.annotations?.[payloadEndpointAnnotation]);
    const [freshest] = named.sort((a, b) => renewedAt(b).localeCompare(renewedAt(a)));
    const server = freshest?.metadata.annotations?.[payloadEndpointAnnotation];
    if (server !== undefined) return server;
    const why = `${what}, and no Lease in namespace ${namespace} names its endpoint`;
    throw new CliError(`${why}; give --server URL, or --lease-namespace if the controller runs elsewhere`);
  }

  async #token(serviceAccount: string): Promise<string> {
    const { interrupted, ports } = this.#context;
    const { headers } = await new CredentialSource(this.#config, ports.clock).get(interrupted);
    const header = Object.entries(headers).find(([name]) => name.toLowerCase() === "authorization")?.[1];
    const token = /^Bearer\s+(\S+)$/i.exec(header ?? "")?.[1];
    if (token !== undefined) return token;
    // A client certificate cannot be shown to anybody but the API server: a service account speaks for us. With this token the
    // endpoint can do nothing but ask whose it is: the API server takes it from nobody.
    const spec = { audiences: [payloadAudience], expirationSeconds: tokenSeconds };
    const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec };
    const of = { name: serviceAccount, subresource: "token" as const };
    const answer = await this.client.create(serviceAccounts, body, { namespace: this.namespace, of }, interrupted);
    return (answer.status as { readonly token: string }).token;
  }
}

/** Does what a command is for, and tells what the user can mend in one line; all else is a defect of ours. Throws CliError. */
export async function told(context: CliContext, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof CliError) throw error;
    if (context.interrupted.aborted) throw new CliError("", exitCodes.cancelled);
    throw new CliError(explained(error), exitCodes.failed, { cause: error });
  }
}

function explained(error: unknown): string {
  if (error instanceof ApiError && error.status.code === 403) return `the cluster refuses: ${error.message}`;
  if (error instanceof MillraceError && error.code === "InvalidInput") {
    const mend = "give --service-account NAME of one that may, or bind a Role with it";
    return `the controller refuses: ${error.message}; ${mend}`;
  }
  const known = error instanceof ApiError || error instanceof MillraceError || error instanceof KubeConfigError;
  if (known || (error instanceof Error && "code" in error)) return error.message;
  throw error;
}

function renewedAt(lease: KubernetesObject): string {
  return (lease.spec as { readonly renewTime?: string } | undefined)?.renewTime ?? "";
}
