import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import { Flights } from "../../backends/flights.ts";
import type { Clock } from "../../engine/clock.ts";
import type { Json, JsonObject } from "../../engine/payload.ts";
import type { Client, Resource } from "../api/client.ts";
import { subjectAccessReviews, tokenReviews } from "../api/kinds.ts";

/** How long a yes is believed without asking again, in milliseconds: what a revoked right outlives its revocation by. */
const believedForMs = 10_000;

/** How long a no is: short, so that a Role that was just bound is seen, and long enough for one that asks in a loop to cost next to nothing. In milliseconds. */
const refusedForMs = 1_000;

const maxKept = 1_000;

/** Anybody may make the controller ask the API server, whose connections its own work needs too. */
const maxReviews = 8;

/** The audience of a token that is good for payloads and nothing else. */
export const payloadAudience = "millrace";

export type Access =
  | { readonly kind: "Allowed" }
  | { readonly kind: "Unauthenticated" }
  /** Too many are being asked about; later may do. */
  | { readonly kind: "Busy" }
  | { readonly kind: "Denied"; readonly user: string; readonly reason: string };

/** What somebody wants of a payload: to read it, or to add it. */
export type PayloadVerb = "get" | "create";

/** Who may read and add payloads of a namespace: whoever the API server lets `get` and `create` `executions/payload` there. */
export class PayloadAccess {
  readonly #client: Client;
  /** Under the token's hash, so that no token stays in memory. Apart from the noes, of which anybody can make many. */
  readonly #allowed: LRUCache<string, Access>;
  readonly #refused: LRUCache<string, Access>;
  readonly #asking = new Flights<Access>();
  #reviews = 0;

  constructor(client: Client, clock: Clock) {
    this.#client = client;
    const common = { max: maxKept, ttlResolution: 0, perf: { now: () => clock.monotonic() } };
    this.#allowed = new LRUCache({ ...common, ttl: believedForMs });
    this.#refused = new LRUCache({ ...common, ttl: refusedForMs });
  }

  /** TokenReview, then SubjectAccessReview, of at most 8 tokens at a time. Throws ApiError when the API server does not answer. */
  async check(token: string, verb: PayloadVerb, namespace: string, signal: AbortSignal): Promise<Access> {
    const key = createHash("sha256").update(`${verb}\n${namespace}\n${token}`).digest("base64");
    const known = this.#allowed.get(key) ?? this.#refused.get(key);
    if (known !== undefined) return known;
    const ask = (ownSignal: AbortSignal) => this.#ask(token, verb, namespace, ownSignal);
    return await this.#asking.join(key, (ownSignal) => this.#bounded(key, () => ask(ownSignal)), signal);
  }

  async #bounded(key: string, ask: () => Promise<Access>): Promise<Access> {
    if (this.#reviews >= maxReviews) return { kind: "Busy" };
    this.#reviews += 1;
    try {
      const access = await ask();
      (access.kind === "Allowed" ? this.#allowed : this.#refused).set(key, access);
      return access;
    } finally {
      this.#reviews -= 1;
    }
  }

  async #ask(token: string, verb: PayloadVerb, namespace: string, signal: AbortSignal): Promise<Access> {
    const audiences = isForPayloads(token) ? { audiences: [payloadAudience] } : {};
    const review = await this.#review(tokenReviews, { token, ...audiences }, signal);
    if (review.authenticated !== true || !isFor(review, audiences)) return { kind: "Unauthenticated" };
    const user = (review.user ?? {}) as Record<string, Json>;
    const spec = {
      ...picked(user, { username: "user", groups: "groups", uid: "uid", extra: "extra" }),
      resourceAttributes: {
        namespace,
        verb,
        group: "millrace.dev",
        resource: "executions",
        subresource: "payload",
      },
    };
    const answer = await this.#review(subjectAccessReviews, spec, signal);
    if (answer.allowed === true) return { kind: "Allowed" };
    return { kind: "Denied", user: text(user.username), reason: text(answer.reason) };
  }

  async #review(resource: Resource, spec: JsonObject, signal: AbortSignal): Promise<Record<string, unknown>> {
    const body = { apiVersion: `${resource.group}/${resource.version}`, kind: resource.kind, metadata: {}, spec };
    const object = await this.#client.create(resource, body, {}, signal);
    return (object.status ?? {}) as Record<string, unknown>;
  }
}

/**
 * What a token says of its audience, unverified: only which audience to ask about. Without one the API server checks against its
 * own, whose name nobody else knows; that lets a kubeconfig's own token in, whatever its kind.
 */
function isForPayloads(token: string): boolean {
  try {
    const claims = Buffer.from(token.split(".")[1] ?? "", "base64url").toString();
    const { aud } = JSON.parse(claims) as { readonly aud?: unknown };
    return [aud].flat().includes(payloadAudience);
  } catch {
    // Not a JWT.
    return false;
  }
}

/** An API server that knows nothing of audiences leaves them out of its answer. */
function isFor(
  review: Record<string, unknown>,
  { audiences = [] }: { readonly audiences?: readonly string[] },
): boolean {
  const known = Array.isArray(review.audiences) ? review.audiences : [];
  return audiences.every((audience) => known.includes(audience));
}

function picked(source: Readonly<Record<string, Json>>, names: Readonly<Record<string, string>>): Record<string, Json> {
  const result: Record<string, Json> = {};
  for (const [from, to] of Object.entries(names)) {
    const value = source[from];
    if (value !== undefined) result[to] = value;
  }
  return result;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
