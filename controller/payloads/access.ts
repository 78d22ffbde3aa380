import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Clock } from "../../engine/clock.ts";
import type { Json, JsonObject } from "../../engine/payload.ts";
import type { Client, Resource } from "../api/client.ts";
import { subjectAccessReviews, tokenReviews } from "../api/kinds.ts";

/** How long a yes is believed without asking again, in milliseconds: what a revoked right outlives its revocation by. */
const believedForMs = 10_000;
const maxBelieved = 1_000;

export type Access =
  | { readonly kind: "Allowed" }
  | { readonly kind: "Unauthenticated" }
  | { readonly kind: "Denied"; readonly user: string; readonly reason: string };

/** Who may read the payloads of a namespace: whoever the API server lets `get` `executions/payload` there. */
export class PayloadAccess {
  readonly #client: Client;
  /** Only a yes is kept, under the token's hash, so that no token stays in memory. */
  readonly #allowed: LRUCache<string, Access>;

  constructor(client: Client, clock: Clock) {
    this.#client = client;
    this.#allowed = new LRUCache({
      max: maxBelieved,
      ttl: believedForMs,
      ttlResolution: 0,
      perf: { now: () => clock.monotonic() },
    });
  }

  /** TokenReview, then SubjectAccessReview. Throws ApiError when the API server does not answer. */
  async check(token: string, namespace: string, signal: AbortSignal): Promise<Access> {
    const key = createHash("sha256").update(`${namespace}\n${token}`).digest("base64");
    const known = this.#allowed.get(key);
    if (known !== undefined) return known;
    const access = await this.#ask(token, namespace, signal);
    if (access.kind === "Allowed") this.#allowed.set(key, access);
    return access;
  }

  async #ask(token: string, namespace: string, signal: AbortSignal): Promise<Access> {
    const review = await this.#review(tokenReviews, { token }, signal);
    if (review.authenticated !== true) return { kind: "Unauthenticated" };
    const user = (review.user ?? {}) as Record<string, Json>;
    const spec = {
      ...picked(user, { username: "user", groups: "groups", uid: "uid", extra: "extra" }),
      resourceAttributes: {
        namespace,
        verb: "get",
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
