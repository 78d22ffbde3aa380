// An authorization server for registries (distribution's token authentication), with users of its own.

import { createHash, createPublicKey, randomUUID, sign } from "node:crypto";
import { type Authority, createAuthority } from "../cluster/certificates.ts";
import { bodyOf, startHttpServer } from "./rpc/http-server.ts";

export interface TokenServerOptions {
  /** Passwords by name. */
  readonly users: Readonly<Record<string, string>>;
  /** Refresh tokens, each of which stands for a user. */
  readonly refreshTokens?: readonly string[];
  /** Repositories that those without credentials may pull. */
  readonly public?: readonly string[];
  readonly lifeSeconds?: number;
}

/** One question that the server was asked. */
export interface TokenQuestion {
  readonly method: string;
  readonly scope: string;
  /** By credentials of a user; otherwise nobody. */
  readonly known: boolean;
  readonly granted: boolean;
}

export interface TokenServer extends AsyncDisposable {
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  /** PEM: what a registry trusts. */
  readonly certificate: string;
  readonly questions: readonly TokenQuestion[];
  /** A token without a question. */
  issue(repository: string, actions: readonly string[]): string;
}

const service = "millrace-test-registry";
const issuer = "millrace-test-issuer";

/** On loopback, in this process. Signs by ES256. */
export async function startTokenServer(options: TokenServerOptions): Promise<TokenServer> {
  const authority = createAuthority(issuer);
  const lifeSeconds = options.lifeSeconds ?? 300;
  const questions: TokenQuestion[] = [];
  const issue = (repository: string, actions: readonly string[]) =>
    tokenOf(authority, lifeSeconds, [{ type: "repository", name: repository, actions }]);
  const server = await startHttpServer(async (request, response) => {
    const url = new URL(request.url ?? "/", "http://token");
    const form = request.method === "POST" ? new URLSearchParams((await bodyOf(request)).toString()) : url.searchParams;
    const scope = form.get("scope") ?? "";
    const [, repository = ""] = scope.split(":");
    const asked = form.get("refresh_token");
    const basic = request.headers.authorization;
    const known = isUser(options, basic) || (asked !== null && options.refreshTokens?.includes(asked) === true);
    const wrong = !known && (basic !== undefined || asked !== null);
    const granted = !wrong && (known || options.public?.includes(repository) === true);
    questions.push({ method: request.method ?? "", scope, known, granted });
    response.setHeader("content-type", "application/json");
    response.statusCode = wrong || form.get("service") !== service ? 401 : 200;
    if (response.statusCode === 401) return void response.end('{"errors":[{"code":"UNAUTHORIZED"}]}');
    // As the specification has it: a token for what is allowed, be that nothing.
    const token = granted ? issue(repository, ["pull"]) : tokenOf(authority, lifeSeconds, []);
    response.end(JSON.stringify({ token, expires_in: lifeSeconds }));
  });
  return {
    realm: `${server.endpoint}/token`,
    service,
    issuer,
    certificate: authority.certificate,
    questions,
    issue,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function isUser({ users }: TokenServerOptions, basic: string | undefined): boolean {
  const [user = "", ...password] = Buffer.from(basic?.replace(/^Basic /, "") ?? "", "base64")
    .toString()
    .split(":");
  return basic !== undefined && Object.hasOwn(users, user) && users[user] === password.join(":");
}

function tokenOf({ privateKey }: Authority, lifeSeconds: number, access: readonly object[]): string {
  const spki = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  const now = Math.floor(Date.now() / 1000);
  const header = { typ: "JWT", alg: "ES256", kid: fingerprint(spki) };
  const claims = {
    iss: issuer,
    sub: "test",
    aud: service,
    iat: now,
    nbf: now - 60,
    exp: now + lifeSeconds,
    jti: randomUUID(),
    access,
  };
  const signed = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  const signature = sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

/** The name of a key as the registry's library has it: 240 bits of its SHA-256 in base32, in groups of four. */
function fingerprint(spki: Buffer): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...createHash("sha256").update(spki).digest().subarray(0, 30)]
    .map((byte) => byte.toString(2).padStart(8, "0"))
    .join("");
  const letters = bits.match(/.{5}/g)?.map((five) => alphabet[Number.parseInt(five, 2)]) ?? [];
  return letters.join("").match(/.{4}/g)?.join(":") ?? "";
}
