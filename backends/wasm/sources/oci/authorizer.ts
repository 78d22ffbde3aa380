import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import { MillraceError } from "../../../../engine/errors.ts";
import { readBody } from "../../network/body.ts";
import type { ModuleNetwork, NetworkResponse } from "../../network/network.ts";
import type { Credential } from "./auth.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import { type Asked, failureOf, field, refused, untrue } from "./failures.ts";
import type { OciReference } from "./reference.ts";

/** How long an authorization is used at most, so that one that was taken away does not last; in milliseconds. */
const maxLifeMs = 5 * 60_000;
/** Of a token that does not say (the specification's default), and what is taken off for clocks and the way; in milliseconds. */
const defaultLifeMs = 60_000;
const spareLifeMs = 10_000;
const maxKept = 1000;
const maxTokenBytes = 256 * 1024;

interface Authorization {
  readonly header: string;
  readonly lifeMs: number;
}

/**
 * Gives registries the `Authorization` that they ask for: Basic, or a Bearer token of the authorization server that they name.
 * What was granted is kept by registry, repository and credential, and is given to nobody else.
 */
export class Authorizer {
  readonly #network: Pick<ModuleNetwork, "request">;
  readonly #now: () => number;
  readonly #kept = new LRUCache<string, string>({ max: maxKept });

  constructor(network: Pick<ModuleNetwork, "request">, now: () => number) {
    this.#network = network;
    this.#now = now;
  }

  /** What was granted before, if that still holds. */
  kept(asked: Asked): string | undefined {
    return this.#kept.get(keyOf(asked));
  }

  /**
   * Answers the challenge of a 401.
   * @param response of the registry; its body is let go
   * @throws MillraceError InvalidInput when nothing is granted, and what the network throws
   */
  async authorize(response: NetworkResponse, asked: Asked, signal: AbortSignal): Promise<string> {
    const key = keyOf(asked);
    this.#kept.delete(key);
    const challenges = parseChallenges(response.headers["www-authenticate"] ?? "");
    const bearer = challenges.find(({ scheme }) => scheme === "bearer");
    const basic = challenges.some(({ scheme }) => scheme === "basic");
    if (bearer === undefined && (!basic || asked.credential?.kind !== "Password")) {
      throw await failureOf(response, asked, this.#now());
    }
    await response.discard();
    const granted = bearer === undefined ? basicOf(asked.credential) : await this.#token(bearer, asked, signal);
    if (granted.lifeMs > 0) this.#kept.set(key, granted.header, { ttl: granted.lifeMs });
    return granted.header;
  }

  async #token({ parameters }: Challenge, asked: Asked, signal: AbortSignal): Promise<Authorization> {
    const { reference } = asked;
    const realm = URL.parse(parameters.get("realm") ?? "");
    if (realm === null) throw untrue(reference, "asks for a token and does not say of whom.");
    const response = await this.#askFor(realm, questionOf(parameters, reference), asked.credential, signal).catch(
      (thrown: unknown) => {
        signal.throwIfAborted();
        throw unreachable(thrown, reference, realm);
      },
    );
    const { status } = response;
    if (status === 400 || status === 401 || status === 403 || status === 404) {
      await response.discard();
      throw refused(asked, `its authorization server ${realm.origin} gives no token: HTTP ${status}`);
    }
    if (status !== 200) {
      throw await failureOf(response, { ...asked, what: `a token of ${realm.origin}` }, this.#now());
    }
    return await readToken(response, reference, realm);
  }

  /** Without redirects: only the server that the registry names is told the password. */
  #askFor(
    realm: URL,
    question: URLSearchParams,
    credential: Credential | undefined,
    signal: AbortSignal,
  ): Promise<NetworkResponse> {
    if (credential?.kind === "RefreshToken") {
      question.set("grant_type", "refresh_token");
      question.set("client_id", "millrace");
      question.set("refresh_token", credential.token);
      const headers = { "content-type": "application/x-www-form-urlencoded" };
      const body = new TextEncoder().encode(question.toString());
      return this.#network.request(realm, { field, method: "POST", headers, body, signal });
    }
    const url = new URL(realm);
    for (const [name, value] of question) url.searchParams.append(name, value);
    const headers: Record<string, string> =
      credential === undefined ? {} : { authorization: basicOf(credential).header };
    return this.#network.request(url, { field, headers, signal });
  }
}

/** The user has never seen that server's URL: the registry names it. */
function unreachable(thrown: unknown, { registry }: OciReference, realm: URL): unknown {
  if (!(thrown instanceof MillraceError)) return thrown;
  const { code, message, retryAfterMs } = thrown;
  const said = message.startsWith(`${field}: `) ? message.slice(field.length + 2) : message;
  return new MillraceError(
    code,
    `${field}: ${registry} has its tokens made out by the authorization server ${realm.origin}, which cannot be asked: ${said}`,
    { cause: thrown, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) },
  );
}

/**
 * Asks to pull this repository, and nothing else: what scope a registry names for a repository is not repeated, as it could
 * name another one. A scope that is no repository's (as a public registry's `aws`) is.
 */
function questionOf(parameters: Challenge["parameters"], { repository }: OciReference): URLSearchParams {
  const question = new URLSearchParams();
  const service = parameters.get("service");
  if (service !== undefined) question.set("service", service);
  const others = (parameters.get("scope") ?? "").split(" ").filter((scope) => scope !== "" && !scope.includes(":"));
  question.set("scope", [`repository:${repository}:pull`, ...others].join(" "));
  return question;
}

async function readToken(response: NetworkResponse, reference: OciReference, realm: URL): Promise<Authorization> {
  const tooLarge = () => untrue(reference, `names an authorization server whose token is over ${maxTokenBytes} bytes.`);
  const bytes = await readBody(response, maxTokenBytes, tooLarge);
  let answer: { readonly token?: unknown; readonly access_token?: unknown; readonly expires_in?: unknown } | null;
  try {
    answer = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    // The parser's message quotes the text, and that is a secret.
    answer = null;
  }
  const token = answer?.token ?? answer?.access_token;
  if (typeof token !== "string" || !/^[!-~]+$/.test(token)) {
    throw untrue(reference, `names the authorization server ${realm.origin}, which answers without a token.`);
  }
  const seconds = answer?.expires_in;
  const lifeMs = typeof seconds === "number" ? seconds * 1000 : defaultLifeMs;
  return { header: `Bearer ${token}`, lifeMs: Math.min(lifeMs - spareLifeMs, maxLifeMs) };
}

function basicOf(credential: Credential | undefined): Authorization {
  if (credential?.kind !== "Password") throw new MillraceError("Internal", "Basic without a password");
  const { username, password } = credential;
  return { header: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`, lifeMs: maxLifeMs };
}

/** Credentials by what they hash to: a cache's keys are easily printed. */
function keyOf({ reference, credential }: Asked): string {
  const held = createHash("sha256")
    .update(JSON.stringify(credential ?? null))
    .digest("base64");
  return JSON.stringify([reference.registry, reference.repository, held]);
}
