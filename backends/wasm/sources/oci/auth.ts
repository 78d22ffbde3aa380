import { MillraceError } from "../../../../engine/errors.ts";
import type { OciReference } from "./reference.ts";

/** How somebody proves to a registry who they are. */
export type Credential =
  | { readonly kind: "Password"; readonly username: string; readonly password: string }
  /** OAuth 2's, which an authorization server takes in the place of a password: `identitytoken` of Docker's file. */
  | { readonly kind: "RefreshToken"; readonly token: string };

/** The key of a Secret of the type kubernetes.io/dockerconfigjson. */
export const dockerConfigKey = ".dockerconfigjson";

interface Entry {
  /** Labels of the host, in lower case; each may be a pattern. */
  readonly labels: readonly string[];
  readonly port: string;
  readonly path: readonly string[];
  readonly credential: Credential;
}

/**
 * The credentials of one pull secret, by where they are for. Keys of `auths` match as the kubelet has it: `HOST[:PORT][/PATH]`
 * with or without a scheme, where a label of the host may have `*` and `?`, a port must be the same, and a path is the
 * beginning of the repository's (here: whole parts of it). Docker Hub's names all mean the same.
 */
export class CredentialStore {
  readonly #entries: readonly Entry[];

  private constructor(entries: readonly Entry[]) {
    this.#entries = entries.toSorted(moreSpecificFirst);
  }

  /**
   * @param secretName for messages, which never show any of the content
   * @throws MillraceError InvalidInput
   */
  static parse(config: Uint8Array, secretName: string): CredentialStore {
    const auths = objectOf(objectOf(parseJson(config))?.auths);
    if (auths === undefined) throw malformed(secretName, `is no JSON object with "auths"`);
    // Docker leaves `{}` where a helper of somebody's own machine keeps the password.
    const filled = Object.entries(auths).filter(([, auth]) => Object.keys(objectOf(auth) ?? { auth }).length > 0);
    return new CredentialStore(filled.map(([key, auth]) => parseEntry(key, auth, secretName)));
  }

  /** The credential whose key says most about `reference`; undefined: there is none for it. */
  find(reference: OciReference): Credential | undefined {
    const { labels, port, path } = parseKey(`${reference.registry}/${reference.repository}`);
    return this.#entries.find(
      (entry) =>
        entry.port === port &&
        entry.labels.length === labels.length &&
        entry.labels.every((pattern, index) => matches(pattern, labels[index] ?? "")) &&
        entry.path.every((part, index) => part === path[index]),
    )?.credential;
  }
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    // V8's message quotes the text, and that has passwords in it.
    return undefined;
  }
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}

function parseEntry(key: string, value: unknown, secretName: string): Entry {
  const auth = objectOf(value);
  const credential = auth === undefined ? undefined : readCredential(auth);
  if (credential === undefined) {
    throw malformed(
      secretName,
      `has an entry auths[${JSON.stringify(key.slice(0, 300))}] without "auth" (base64 of USER:PASSWORD), "username" and "password", or "identitytoken"`,
    );
  }
  return { ...parseKey(key), credential };
}

function readCredential(auth: Readonly<Record<string, unknown>>): Credential | undefined {
  const { identitytoken: token, auth: encoded, username, password } = auth;
  if (typeof token === "string" && token !== "") return { kind: "RefreshToken", token };
  if (typeof encoded === "string" && encoded !== "") {
    // Old versions of Docker fill up with zeros.
    const text = Buffer.from(encoded, "base64").toString("utf8").replace(/\0+$/, "");
    const colon = text.indexOf(":");
    if (colon < 1) return undefined;
    return { kind: "Password", username: text.slice(0, colon), password: text.slice(colon + 1) };
  }
  if (typeof username !== "string" || username === "" || typeof password !== "string") return undefined;
  return { kind: "Password", username, password };
}

const dockerHub = ["docker.io", "index.docker.io", "registry-1.docker.io"];

function parseKey(key: string): Omit<Entry, "credential"> {
  const [authority = "", ...path] = key.replace(/^https?:\/\//, "").split("/");
  const bracket = authority.lastIndexOf("]");
  const colon = authority.indexOf(":", bracket + 1);
  const host = (colon < 0 ? authority : authority.slice(0, colon)).toLowerCase();
  // `https://index.docker.io/v1/` is what `docker login` writes; the version says nothing of the repository.
  const parts = path.filter((part, index) => part !== "" && !(index === 0 && /^v[12]$/.test(part)));
  return {
    labels: (dockerHub.includes(host) ? "docker.io" : host).split("."),
    port: colon < 0 ? "" : authority.slice(colon + 1),
    path: parts,
  };
}

/** `*` is any characters, `?` is one. Goes back to the last `*` only, so that no pattern takes long. */
function matches(pattern: string, text: string): boolean {
  let at = 0;
  let index = 0;
  let star = -1;
  let resume = 0;
  while (at < text.length) {
    if (pattern[index] === "*") {
      star = index;
      index += 1;
      resume = at;
    } else if (index < pattern.length && (pattern[index] === "?" || pattern[index] === text[at])) {
      index += 1;
      at += 1;
    } else {
      if (star < 0) return false;
      index = star + 1;
      resume += 1;
      at = resume;
    }
  }
  while (pattern[index] === "*") index += 1;
  return index === pattern.length;
}

function moreSpecificFirst(left: Entry, right: Entry): number {
  return right.path.length - left.path.length || vagueness(left) - vagueness(right);
}

/** Labels that are patterns, then how little such a one says. */
function vagueness({ labels }: Entry): number {
  const patterns = labels.filter((label) => /[*?]/.test(label));
  return patterns.reduce((sum, label) => sum + 1000 - label.length, 0);
}

function malformed(secretName: string, what: string): MillraceError {
  return new MillraceError(
    "InvalidInput",
    `spec.wasm.pullSecretRef: ${dockerConfigKey} of the Secret ${secretName} ${what}. \`kubectl create secret docker-registry\` makes one that is right.`,
  );
}
