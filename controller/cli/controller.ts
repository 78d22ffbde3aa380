import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { MillraceError } from "../../engine/errors.ts";
import { parseBytes, parseDurationMs } from "../api/quantities.ts";
import type { ControllerOptions } from "../assembly/run.ts";
import { refusalOfServer } from "../payloads/addresses.ts";
import type { ListenAddress } from "../runtime/health.ts";
import type { LogLevel } from "../runtime/logger.ts";
import { type CliContext, CliError, exitCodes } from "./context.ts";
import { type ModuleFlags, moduleOptions, modulesFrom } from "./module-options.ts";

/** What commander makes of the flags. */
interface Flags extends ModuleFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace: readonly string[];
  readonly pluginsDir?: string;
  readonly modulesDir?: string;
  readonly payloadsDir?: string;
  readonly payloadStoreSize?: number;
  readonly payloadStoreNamespaceSize?: number;
  readonly allowIsolation: readonly string[];
  readonly metricsBindAddress: ListenAddress | "off";
  readonly healthProbeBindAddress: ListenAddress | "off";
  readonly payloadBindAddress: ListenAddress | "off";
  readonly payloadAdvertisedUrl?: string;
  readonly payloadTlsCertFile?: string;
  readonly payloadTlsPrivateKeyFile?: string;
  readonly leaderElect: "true" | "false";
  readonly leaseName: string;
  readonly leaseNamespace?: string;
  readonly logLevel: LogLevel;
  readonly logFormat: "json" | "pretty";
  readonly shutdownGracePeriod: number;
  readonly maxExecutionsPerNamespace: number;
}

const examples = `
Examples:
  millrace controller                                          with KUBECONFIG, ~/.kube/config, or a pod's service account
  millrace controller --namespace team-a --namespace team-b    two namespaces, for which a Role each is enough
  millrace controller --plugins-dir ./plugins --modules-dir ./modules
  millrace controller --leader-elect=false --log-format pretty     on a laptop, alone`;

/** `millrace controller`: runs the controller against a cluster until a signal ends it. */
export function controllerCommand(context: CliContext): Command {
  const command = new Command("controller")
    .summary("run the controller against a cluster")
    .description(
      "Runs Processors, Pipelines and Executions of a Kubernetes cluster. The first SIGTERM or SIGINT ends it in order, the second at once.",
    )
    .addHelpText("after", examples)
    .action(async (flags: Flags) => run(flags, context));
  for (const option of [...clusterOptions(), ...processOptions(), ...moduleOptions(), ...addressOptions()])
    command.addOption(option);
  return command;
}

function clusterOptions(): readonly Option[] {
  return [
    new Option("--kubeconfig <file>", "cluster and credentials (default: KUBECONFIG, the pod's, ~/.kube/config)"),
    new Option("--context <name>", "context of the kubeconfig (default: its current one)"),
    new Option("-n, --namespace <name>", "work in this namespace alone; may be repeated (default: all)")
      .argParser(collect)
      .default([], "all"),
    new Option("--leader-elect [bool]", "of several controllers only the holder of the Lease works")
      .choices(["true", "false"])
      .default("true")
      .preset("true"),
    new Option("--lease-name <name>", "the Lease; controllers of different namespaces need different ones").default(
      "millrace",
    ),
    new Option("--lease-namespace <name>", "where the Lease is (default: the pod's namespace, or the context's)"),
  ];
}

function processOptions(): readonly Option[] {
  return [
    new Option("--plugins-dir <dir>", "where local.module.file is looked for (default: nowhere)"),
    new Option("--modules-dir <dir>", "where wasm.source.file is looked for (default: nowhere)"),
    new Option(
      "--payloads-dir <dir>",
      "where payloads over 4 KiB are kept; on a disk that outlives the process (default: $XDG_STATE_HOME/millrace/payloads)",
    ),
    new Option(
      "--payload-store-size <bytes>",
      "the most that may be kept there, such as 50Gi; a step with more to keep fails (default: no limit)",
    ).argParser(storeBytes),
    new Option(
      "--payload-store-namespace-size <bytes>",
      "the most that may be kept there for one namespace (default: no limit)",
    ).argParser(storeBytes),
    new Option(
      "--allow-isolation <name>",
      "allow less isolation than the default: Inline runs modules in the controller's own thread",
    )
      .choices(["Inline"])
      .argParser(collectIsolation)
      .default([], "none"),
    new Option(
      "--max-executions-per-namespace <number>",
      "how many Executions of one namespace run at once, the others are queued; 0 for any number",
    )
      .argParser(count)
      .default(0, "0"),
    new Option("--log-level <level>", "what is logged, to stderr")
      .choices(["trace", "debug", "info", "warn", "error"])
      .default("info"),
    new Option("--log-format <format>", "json: an object a line; pretty: for people")
      .choices(["json", "pretty"])
      .default("json"),
    new Option(
      "--shutdown-grace-period <duration>",
      "how long running steps may go on after the first signal; 0 for not at all",
    )
      .argParser(graceMs)
      .default(25_000, "25s"),
  ];
}

function addressOptions(): readonly Option[] {
  return [
    new Option("--metrics-bind-address <address>", "where /metrics is served; 0 for nowhere")
      .argParser(address)
      .default(port(8080), ":8080"),
    new Option("--health-probe-bind-address <address>", "where /healthz and /readyz are served; 0 for nowhere")
      .argParser(address)
      .default(port(8081), ":8081"),
    new Option(
      "--payload-bind-address <address>",
      "where payloads are served to whoever may read them; without TLS only on loopback; 0 for nowhere",
    )
      .argParser(address)
      .default({ host: "127.0.0.1", port: 8082 }, "127.0.0.1:8082"),
    new Option(
      "--payload-advertised-url <url>",
      "where others reach that address (default: the address itself, but in a pod no loopback, and nowhere 0.0.0.0)",
    ).argParser(serverUrl),
    new Option("--payload-tls-cert-file <file>", "certificate of the payload endpoint, PEM"),
    new Option("--payload-tls-private-key-file <file>", "its key, PEM"),
  ];
}

async function run(flags: Flags, context: CliContext): Promise<void> {
  // What a short command must not pay for is loaded only here.
  const [{ runController }, { createLogger }] = await Promise.all([
    import("../assembly/run.ts"),
    import("../runtime/logger.ts"),
  ]);
  const logger = createLogger({
    destination: context.stderr,
    level: flags.logLevel,
    format: flags.logFormat === "pretty" ? "Pretty" : "JSON",
  });
  // The second signal: what is not recorded is taken up by the next controller, as after a crash.
  try {
    const end = await runController({ ...(await optionsFrom(flags, context)), logger }, context.interrupted);
    if (end === "LostLease")
      throw new CliError("the Lease was lost: another controller works now, or the API server was away");
  } catch (error) {
    throw explained(error);
  }
}

async function optionsFrom(flags: Flags, context: CliContext): Promise<Omit<ControllerOptions, "logger">> {
  const { loadKubeConfig, namespaceOf } = await import("../runtime/kube-config.ts");
  const { env, ports, version } = context;
  const config = loadKubeConfig(env, {
    ...(flags.kubeconfig && { kubeconfig: resolve(context.cwd, flags.kubeconfig) }),
    ...(flags.context && { context: flags.context }),
  });
  const lease = { name: flags.leaseName, namespace: flags.leaseNamespace ?? namespaceOf(config) };
  const { metricsBindAddress: metrics, healthProbeBindAddress: probes } = flags;
  return {
    config,
    ports,
    version,
    replica: replicaName(context),
    namespaces: flags.namespace,
    allowIsolation: flags.allowIsolation,
    payloadsDir: resolve(context.cwd, flags.payloadsDir ?? defaultPayloadsDir(context)),
    modules: await modulesFrom(flags, context),
    payloadLimits: {
      ...(flags.payloadStoreSize && { totalBytes: flags.payloadStoreSize }),
      ...(flags.payloadStoreNamespaceSize && { namespaceBytes: flags.payloadStoreNamespaceSize }),
    },
    shutdownGraceMs: flags.shutdownGracePeriod,
    maxExecutionsPerNamespace: flags.maxExecutionsPerNamespace,
    ...(flags.pluginsDir && { pluginsDir: resolve(context.cwd, flags.pluginsDir) }),
    ...(flags.modulesDir && { modulesDir: resolve(context.cwd, flags.modulesDir) }),
    ...(metrics === "off" ? {} : { metrics }),
    ...(probes === "off" ? {} : { probes }),
    ...(await payloadEndpoint(flags, context)),
    ...(flags.leaderElect === "true" ? { lease } : {}),
  };
}

async function payloadEndpoint(flags: Flags, context: CliContext): Promise<Pick<ControllerOptions, "payloads">> {
  const { payloadBindAddress, payloadAdvertisedUrl: advertisedUrl } = flags;
  if (payloadBindAddress === "off") return {};
  const { host = "0.0.0.0", port: number } = payloadBindAddress;
  const isInPod = Boolean(context.env.KUBERNETES_SERVICE_HOST);
  const tls = await payloadTls(flags, context);
  return { payloads: { host, port: number, isInPod, ...(advertisedUrl && { advertisedUrl }), ...tls } };
}

type PayloadTls = Pick<NonNullable<ControllerOptions["payloads"]>, "tls">;

async function payloadTls(flags: Flags, { cwd }: CliContext): Promise<PayloadTls> {
  const { payloadTlsCertFile, payloadTlsPrivateKeyFile } = flags;
  if ((payloadTlsCertFile === undefined) !== (payloadTlsPrivateKeyFile === undefined)) {
    throw new CliError(
      "--payload-tls-cert-file and --payload-tls-private-key-file go together; give both or none",
      exitCodes.usage,
    );
  }
  if (payloadTlsCertFile === undefined || payloadTlsPrivateKeyFile === undefined) return {};
  const [cert, key] = await Promise.all(
    [payloadTlsCertFile, payloadTlsPrivateKeyFile].map((file) => readFile(resolve(cwd, file), "utf8")),
  );
  return { tls: { cert: cert ?? "", key: key ?? "" } };
}

/** Unique among all that ever ran: a restarted container keeps its pod's name. */
function replicaName({ env, ports }: CliContext): string {
  const name = (env.POD_NAME ?? hostname()).toLowerCase().replaceAll(/[^a-z0-9.-]/g, "-");
  const suffix = Math.floor(ports.random() * 36 ** 6)
    .toString(36)
    .padStart(6, "0");
  return `${name.slice(0, 240)}-${suffix}`;
}

function defaultPayloadsDir({ env }: CliContext): string {
  const state = env.XDG_STATE_HOME || (env.HOME && join(env.HOME, ".local", "state"));
  if (state) return join(state, "millrace", "payloads");
  throw new CliError(
    "--payloads-dir is not given, and there is neither XDG_STATE_HOME nor HOME to find a place for payloads; give --payloads-dir DIR",
    exitCodes.usage,
  );
}

/** What the operator can mend is told in one line; all else is a defect of ours, with its stack. */
function explained(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const isTold =
    ["PreflightError", "KubeConfigError"].includes(error.name) || error instanceof MillraceError || "syscall" in error;
  if (!isTold) return error;
  const isTaken = (error as NodeJS.ErrnoException).code === "EADDRINUSE";
  const mend = isTaken
    ? "; choose another by --metrics-bind-address or --health-probe-bind-address, or 0 for none"
    : "";
  return new CliError(`${error.message}${mend}`, exitCodes.failed, { cause: error });
}

function collect(value: string, previous: readonly string[]): readonly string[] {
  return [...previous, value];
}

function collectIsolation(value: string, previous: readonly string[]): readonly string[] {
  if (value !== "Inline") throw new InvalidArgumentError("Allowed choices are Inline.");
  return collect(value, previous);
}

function storeBytes(text: string): number {
  try {
    return parseBytes(text, "size");
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function count(text: string): number {
  const number = Number(text);
  if (/^[0-9]+$/.test(text) && Number.isSafeInteger(number)) return number;
  throw new InvalidArgumentError("It is not a whole number from 0 on.");
}

function graceMs(text: string): number {
  if (text === "0") return 0;
  try {
    return parseDurationMs(text, "--shutdown-grace-period");
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function port(number: number): ListenAddress {
  return { port: number };
}

function serverUrl(text: string): string {
  const refusal = refusalOfServer(text);
  if (refusal !== undefined) throw new InvalidArgumentError(`That cannot be advertised: ${refusal}.`);
  return text;
}

/** `:8080`, `127.0.0.1:8080`, `[::1]:8080`; `0` for nowhere. */
function address(text: string): ListenAddress | "off" {
  if (text === "0") return "off";
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]*)):([0-9]{1,5})$/.exec(text);
  const number = Number(match?.[3]);
  if (match === null || number > 65_535) {
    throw new InvalidArgumentError("It is not an address such as :8080 or 127.0.0.1:8080, or 0 for none.");
  }
  const host = match[1] ?? match[2];
  return host ? { host, port: number } : { port: number };
}
