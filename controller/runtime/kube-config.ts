import { existsSync, readFileSync } from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";
import { KubeConfig } from "@kubernetes/client-node";
import { parse } from "yaml";

export interface KubeConfigEnv {
  /** Files, separated as in PATH. */
  readonly KUBECONFIG?: string | undefined;
  readonly HOME?: string | undefined;
  /** Set in every container of a cluster. */
  readonly KUBERNETES_SERVICE_HOST?: string | undefined;
  readonly KUBERNETES_SERVICE_PORT?: string | undefined;
}

export interface KubeConfigFlags {
  /** One file; nothing else is looked at then. */
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** Where a container finds its service account; a test may put it elsewhere. */
const serviceAccountDirectory = "/var/run/secrets/kubernetes.io/serviceaccount";

/** Stands in for the user of a context without one; nothing in a kubeconfig can be called so by chance. */
const anonymous = "millrace:anonymous";

/** No cluster to talk to; the message says where it was looked for, and what would be right. */
export class KubeConfigError extends Error {
  override readonly name = "KubeConfigError";
}

/**
 * The cluster and credentials to use, looked for as controller-runtime does: the flag's file, KUBECONFIG's files, the service
 * account of the pod, `~/.kube/config`. Throws KubeConfigError.
 */
export function loadKubeConfig(
  env: KubeConfigEnv,
  flags: KubeConfigFlags = {},
  accountDirectory = serviceAccountDirectory,
): KubeConfig {
  const config = found(env, flags, accountDirectory);
  if (flags.context !== undefined) chooseContext(config, flags.context);
  checkContext(config);
  allowPlainHttp(config);
  nameAnonymous(config);
  return config;
}

/** The namespace of the current context, for a command that was given none; default `default`. */
export function namespaceOf(config: KubeConfig): string {
  return config.getContextObject(config.getCurrentContext())?.namespace?.trim() || "default";
}

function found(env: KubeConfigEnv, flags: KubeConfigFlags, accountDirectory: string): KubeConfig {
  if (flags.kubeconfig !== undefined) return fromFiles([flags.kubeconfig], "--kubeconfig");
  const files = (env.KUBECONFIG ?? "").split(delimiter).filter((file) => file !== "");
  if (files.length > 0) return fromFiles(files, "KUBECONFIG");
  const token = join(accountDirectory, "token");
  if (env.KUBERNETES_SERVICE_HOST && existsSync(token)) return inCluster(env, accountDirectory);
  const home = env.HOME ? join(env.HOME, ".kube", "config") : undefined;
  if (home !== undefined && existsSync(home)) return fromFiles([home], "the home folder");
  throw new KubeConfigError(
    `no cluster is configured: --kubeconfig and KUBECONFIG are not set, this is not a pod with a service account, and ${
      home ?? "~/.kube/config"
    } does not exist; give --kubeconfig FILE or set KUBECONFIG`,
  );
}

/** As kubectl merges: the first file that names a cluster, user or context wins, and files that do not exist are left out. */
function fromFiles(files: readonly string[], from: string): KubeConfig {
  const existing = files.filter((file) => existsSync(file));
  if (existing.length === 0) {
    throw new KubeConfigError(`the kubeconfig ${files.join(", ")} named by ${from} does not exist`);
  }
  const merged = new KubeConfig();
  for (const config of existing.map(fromFile)) {
    merged.currentContext ||= config.currentContext;
    merged.clusters.push(...unknownTo(merged.clusters, config.clusters));
    merged.users.push(...unknownTo(merged.users, config.users));
    merged.contexts.push(...unknownTo(merged.contexts, config.contexts));
  }
  return merged;
}

function fromFile(file: string): KubeConfig {
  const config = new KubeConfig();
  try {
    const text = readFileSync(file, "utf8");
    config.loadFromString(text);
    config.makePathsAbsolute(dirname(resolve(file)));
    followTokenFiles(config, text, dirname(resolve(file)));
  } catch (error) {
    throw new KubeConfigError(`the kubeconfig ${file} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  return config;
}

/** client-node does not know a user's `tokenFile`, but its authenticator for pods reads such a file anew every minute. */
function followTokenFiles(config: KubeConfig, text: string, directory: string): void {
  const raw = parse(text) as { users?: { name: string; user?: { tokenFile?: string } }[] };
  config.users = config.users.map((user) => {
    const tokenFile = raw.users?.find((entry) => entry.name === user.name)?.user?.tokenFile;
    if (tokenFile === undefined) return user;
    return { ...user, authProvider: tokenFileProvider(resolve(directory, tokenFile)) };
  });
}

function inCluster(env: KubeConfigEnv, accountDirectory: string): KubeConfig {
  const host = env.KUBERNETES_SERVICE_HOST ?? "";
  const server = `https://${host.includes(":") ? `[${host}]` : host}:${env.KUBERNETES_SERVICE_PORT ?? "443"}`;
  const namespaceFile = join(accountDirectory, "namespace");
  const namespace = existsSync(namespaceFile) ? readFileSync(namespaceFile, "utf8").trim() : undefined;
  const config = new KubeConfig();
  config.loadFromOptions({
    clusters: [{ name: "in-cluster", server, caFile: join(accountDirectory, "ca.crt"), skipTLSVerify: false }],
    users: [{ name: "service-account", authProvider: tokenFileProvider(join(accountDirectory, "token")) }],
    contexts: [{ name: "in-cluster", cluster: "in-cluster", user: "service-account", namespace }],
    currentContext: "in-cluster",
  });
  return config;
}

function tokenFileProvider(tokenFile: string): { name: string; config: { tokenFile: string } } {
  return { name: "tokenFile", config: { tokenFile } };
}

function chooseContext(config: KubeConfig, context: string): void {
  if (config.contexts.some(({ name }) => name === context)) {
    config.setCurrentContext(context);
    return;
  }
  const known = config.contexts.map(({ name }) => name).join(", ");
  throw new KubeConfigError(`the context "${context}" is not in the kubeconfig; it has: ${known || "none"}`);
}

function checkContext(config: KubeConfig): void {
  const name = config.getCurrentContext();
  const known = config.contexts.map((context) => context.name).join(", ") || "none";
  if (!name) throw new KubeConfigError(`the kubeconfig has no current-context; give --context, one of: ${known}`);
  const context = config.contexts.find((candidate) => candidate.name === name);
  if (!context) throw new KubeConfigError(`the kubeconfig's current-context "${name}" is not in it; it has: ${known}`);
  if (!config.clusters.some((cluster) => cluster.name === context.cluster)) {
    throw new KubeConfigError(
      `the context "${name}" names the cluster "${context.cluster}", which the kubeconfig lacks`,
    );
  }
  if (context.user && !config.users.some((user) => user.name === context.user)) {
    throw new KubeConfigError(`the context "${name}" names the user "${context.user}", which the kubeconfig lacks`);
  }
}

/** client-node refuses http:// (as of `kubectl proxy`) unless TLS verification is off, which means nothing without TLS. */
function allowPlainHttp(config: KubeConfig): void {
  config.clusters = config.clusters.map((cluster) =>
    cluster.server.startsWith("http:") ? { ...cluster, skipTLSVerify: true } : cluster,
  );
}

/** client-node forgets the cluster's CA where a context names no user. */
function nameAnonymous(config: KubeConfig): void {
  if (config.contexts.every(({ user }) => user)) return;
  config.users = [...config.users, { name: anonymous }];
  config.contexts = config.contexts.map((context) => (context.user ? context : { ...context, user: anonymous }));
}

function unknownTo<T extends { readonly name: string }>(known: readonly T[], more: readonly T[]): T[] {
  return more.filter(({ name }) => !known.some((item) => item.name === name));
}
