import { open, readFile, rename, rm } from "node:fs/promises";
import { resolve } from "node:path";
import { Command, Option } from "commander";
import { stringify } from "yaml";
import { MillraceError } from "../../engine/errors.ts";
import { BytesPayload, digestOf, type Payload } from "../../engine/payload.ts";
import { ApiError, type Client, type KubernetesObject } from "../api/client.ts";
import { executions, leases, serviceAccounts } from "../api/kinds.ts";
import type { Execution, PayloadRow } from "../api/types.ts";
import { isFinished } from "../execution/objects.ts";
import { inlineValue, payloadOf } from "../execution/values.ts";
import { payloadAudience } from "../payloads/access.ts";
import { refusalOfServer } from "../payloads/addresses.ts";
import { payloadEndpointAnnotation } from "../payloads/endpoint.ts";
import { RemotePayloads } from "../payloads/remote.ts";
import { isNotFound } from "../runtime/api-errors.ts";
import { CredentialSource } from "../runtime/credentials.ts";
import { createHttpClient } from "../runtime/http-client.ts";
import { HttpTransport } from "../runtime/http-transport.ts";
import { KubeConfigError, loadKubeConfig, namespaceOf } from "../runtime/kube-config.ts";
import { type CliContext, CliError, exitCodes } from "./context.ts";

interface OutputFlags {
  readonly namespace?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly output: "raw" | "json" | "yaml";
  readonly to?: string;
  readonly server?: string;
  readonly certificateAuthority?: string;
  readonly leaseNamespace: string;
  readonly serviceAccount: string;
}

/** `millrace output EXECUTION [STEP]`. */
export function outputCommand(context: CliContext): Command {
  return new Command("output")
    .description("Print what an Execution, or one of its steps, gave.")
    .argument("<execution>", "name of the Execution")
    .argument("[step]", "name of a step; without it the output of the whole run")
    .option("-n, --namespace <namespace>", "namespace of the Execution (default: that of the kubeconfig's context)")
    .option("--kubeconfig <file>", "kubeconfig to use (default: as kubectl)")
    .option("--context <name>", "context of the kubeconfig")
    .addOption(
      new Option("-o, --output <format>", "raw: the bytes; json, yaml: with content type, size and digest")
        .choices(["raw", "json", "yaml"])
        .default("raw"),
    )
    .option("--to <file>", "write to this file instead of the standard output")
    .option("--server <url>", "URL of the controller's payload endpoint (default: as its Lease says)")
    .option("--certificate-authority <file>", "PEM of the authority that signed the endpoint's certificate")
    .option("--lease-namespace <namespace>", "where the controller's Lease is", "millrace-system")
    .option("--service-account <name>", "whom to ask as, where the kubeconfig has no token", "default")
    .addHelpText("after", examples)
    .action((execution: string, step: string | undefined, flags: OutputFlags) =>
      new OutputReader(context, flags).print(execution, step),
    );
}

const examples = `
What is small is in the Execution's status; what is larger is fetched from the controller, which asks the cluster whether
you may get executions/payload in that namespace.

Examples:
  millrace output article-x7k2p > report.txt         what the run gave
  millrace output article-x7k2p count -o yaml        what one step gave, with its content type
  millrace output article-x7k2p --to report.pdf      into a file, all of it or nothing
  kubectl port-forward -n millrace-system deploy/millrace 8443 &
  millrace output article-x7k2p --server https://localhost:8443 --certificate-authority ca.crt`;

/** The shortest that the API server grants. */
const tokenSeconds = 600;

class OutputReader {
  readonly #context: CliContext;
  readonly #flags: OutputFlags;

  constructor(context: CliContext, flags: OutputFlags) {
    this.#context = context;
    this.#flags = flags;
  }

  async print(name: string, step: string | undefined): Promise<void> {
    try {
      await this.#print(name, step);
    } catch (error) {
      if (error instanceof CliError) throw error;
      if (this.#context.interrupted.aborted) throw new CliError("", exitCodes.cancelled);
      throw new CliError(this.#explained(error), exitCodes.failed, { cause: error });
    }
  }

  async #print(name: string, step: string | undefined): Promise<void> {
    const { env, ports, version, interrupted } = this.#context;
    const config = loadKubeConfig(env, this.#flags);
    await using transport = new HttpTransport({ config, ports });
    const client = createHttpClient({ transport, ports, version });
    const namespace = this.#flags.namespace ?? namespaceOf(config);
    const row = rowOf(await this.#execution(client, namespace, name), step);
    if (row.payload === undefined) {
      return await this.#write(row, chunksOf(payloadOf(row, unreachable), interrupted));
    }
    const server = this.#flags.server ?? (await this.#discover(client));
    const refusal = refusalOfServer(server);
    if (refusal !== undefined) throw new CliError(`no token is sent to the payload endpoint ${server}: ${refusal}`);
    const credentials = new CredentialSource(config, ports.clock);
    const token = await this.#token(client, credentials, namespace);
    await using payloads = new RemotePayloads({ server, token, ...(await this.#authority()) });
    const contentType = row.contentType ?? "";
    const ref = { digest: row.payload.ref, bytes: row.payload.bytes, contentType };
    await this.#write(row, payloads.read(namespace, ref, interrupted));
  }

  async #execution(client: Client, namespace: string, name: string): Promise<Execution> {
    try {
      return (await client.get(executions, { namespace, name }, this.#context.interrupted)) as Execution;
    } catch (error) {
      if (!isNotFound(error)) throw error;
      throw new CliError(
        `there is no Execution "${name}" in namespace ${namespace}; see: kubectl get mexec -n ${namespace}`,
      );
    }
  }

  /** The freshest Lease that names an endpoint. */
  async #discover(client: Client): Promise<string> {
    const namespace = this.#flags.leaseNamespace;
    const { items } = await client.list(leases, { namespace }, this.#context.interrupted);
    const named = items.filter(({ metadata }) => metadata.annotations?.[payloadEndpointAnnotation]);
    const [freshest] = named.sort((a, b) => renewedAt(b).localeCompare(renewedAt(a)));
    const server = freshest?.metadata.annotations?.[payloadEndpointAnnotation];
    if (server !== undefined) return server;
    const what = `this output is in the controller's payload store, and no Lease in namespace ${namespace} names its endpoint`;
    throw new CliError(`${what}; give --server URL, or --lease-namespace if the controller runs elsewhere`);
  }

  async #token(client: Client, credentials: CredentialSource, namespace: string): Promise<string> {
    const { interrupted } = this.#context;
    const { headers } = await credentials.get(interrupted);
    const header = Object.entries(headers).find(([name]) => name.toLowerCase() === "authorization")?.[1];
    const token = /^Bearer\s+(\S+)$/i.exec(header ?? "")?.[1];
    if (token !== undefined) return token;
    // A client certificate cannot be shown to anybody but the API server: a service account speaks for us. With this token the
    // endpoint can do nothing but ask whose it is: the API server takes it from nobody.
    const spec = { audiences: [payloadAudience], expirationSeconds: tokenSeconds };
    const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec };
    const of = { name: this.#flags.serviceAccount, subresource: "token" as const };
    const answer = await client.create(serviceAccounts, body, { namespace, of }, interrupted);
    return (answer.status as { readonly token: string }).token;
  }

  async #authority(): Promise<{ readonly authority?: string }> {
    const file = this.#flags.certificateAuthority;
    if (file === undefined) return {};
    return { authority: await readFile(resolve(this.#context.cwd, file), "utf8") };
  }

  async #write(row: PayloadRow, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const { output, to } = this.#flags;
    const shown = output === "raw" ? chunks : enveloped(row, chunks, output);
    if (to !== undefined) return await writeFileWhole(resolve(this.#context.cwd, to), shown);
    for await (const chunk of shown) {
      if (!this.#context.stdout.write(chunk)) await this.#drained();
    }
  }

  #drained(): Promise<void> {
    return new Promise((settle) => this.#context.stdout.once("drain", settle));
  }

  #explained(error: unknown): string {
    if (error instanceof ApiError && error.status.code === 403) return `the cluster refuses: ${error.message}`;
    if (error instanceof MillraceError && error.code === "InvalidInput") {
      const mend = "give --service-account NAME of one that may, or bind a Role with it";
      return `the controller refuses: ${error.message}; ${mend}`;
    }
    const known = error instanceof ApiError || error instanceof MillraceError || error instanceof KubeConfigError;
    if (known || (error instanceof Error && "code" in error)) return error.message;
    throw error;
  }
}

/** What the status holds, or why there is nothing. */
function rowOf(execution: Execution, step: string | undefined): PayloadRow {
  const { metadata, status } = execution;
  if (step !== undefined) return stepRow(execution, step);
  if (status?.output !== undefined) return status.output;
  const name = metadata.name;
  const phase = `${status?.phase ?? "Pending"}${status?.progress === undefined ? "" : ` (${status.progress})`}`;
  if (!isFinished(status)) {
    const mend = `wait for it: kubectl wait --for=condition=Complete --timeout=1h mexec/${name}`;
    throw new CliError(`Execution "${name}" has no output yet, it is ${phase}; ${mend}`);
  }
  const why = status?.conditions?.find(({ type }) => type === "Succeeded")?.message ?? "";
  throw new CliError(
    `Execution "${name}" has no output, it is ${phase}: ${why}; a step's: millrace output ${name} STEP`,
  );
}

function stepRow({ metadata, status }: Execution, step: string): PayloadRow {
  const rows = status?.steps ?? [];
  const row = rows.find(({ name }) => name === step);
  if (row?.output !== undefined) return row.output;
  if (row !== undefined) {
    const why = row.error === undefined ? (row.reason ?? "") : `${row.error.code}: ${row.error.message}`;
    throw new CliError(
      `step "${step}" of Execution "${metadata.name}" has no output, it is ${row.state}${why && `: ${why}`}`,
    );
  }
  const names = rows.map(({ name }) => name).join(", ");
  const has = names === "" ? "it has not started" : `it has ${names}`;
  throw new CliError(`Execution "${metadata.name}" has no step "${step}"; ${has}`);
}

function renewedAt(lease: KubernetesObject): string {
  return (lease.spec as { readonly renewTime?: string } | undefined)?.renewTime ?? "";
}

function unreachable(): Payload {
  throw new MillraceError("Internal", "a payload of the store was taken for an inline one");
}

async function* chunksOf(payload: Payload, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
  yield await payload.bytes(signal);
}

/** Content type, size and digest, and the content as a status would hold it, whatever its size. */
async function* enveloped(
  row: PayloadRow,
  chunks: AsyncIterable<Uint8Array>,
  format: "json" | "yaml",
): AsyncGenerator<Uint8Array, void> {
  const bytes = Buffer.concat(await Array.fromAsync(chunks));
  const { contentType, ...content } = inlineValue(new BytesPayload(bytes, row.contentType ?? ""));
  const envelope = { contentType, bytes: bytes.byteLength, digest: row.payload?.ref ?? digestOf(bytes), ...content };
  yield Buffer.from(format === "json" ? `${JSON.stringify(envelope, null, 2)}\n` : stringify(envelope));
}

/** Under another name until all of it is there. */
async function writeFileWhole(path: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const partial = `${path}.partial`;
  const file = await open(partial, "w");
  try {
    for await (const chunk of chunks) await file.writeFile(chunk);
    await file.close();
    await rename(partial, path);
  } catch (error) {
    await file.close();
    await rm(partial, { force: true });
    throw error;
  }
}
