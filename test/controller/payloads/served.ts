import { expect } from "chai";
import type { Client, KubernetesObject } from "../../../controller/api/client.ts";
import { servePayloads } from "../../../controller/payloads/endpoint.ts";
import { NamespaceUids } from "../../../controller/payloads/namespaces.ts";
import { type Ports, systemPorts } from "../../../engine/clock.ts";
import { silentLogger } from "../runtime/fakes.ts";
import { namespaceUid, temporaryStore } from "./store-folder.ts";

/** An API server that knows three tokens, and lets one of them read in `team`, and another one add, there and in `neighbour`. */
export class Reviews {
  asked = 0;
  allowed = true;
  knowsAudiences = true;

  readonly client = {
    get: () => Promise.resolve({ metadata: { name: "team", uid: namespaceUid } }),
    create: (_resource: unknown, body: { kind: string; spec: Record<string, never> }) => {
      this.asked++;
      return Promise.resolve(this.#answer(body.kind, body.spec) as unknown as KubernetesObject);
    },
  } as unknown as Client;

  #answer(kind: string, spec: Record<string, unknown>): unknown {
    if (kind === "TokenReview") {
      const token = String(spec.token);
      // As the API server: a token is good for its own audience only, and for that of the API server when none is asked for.
      if (token.startsWith("e30.")) {
        const audiences = spec.audiences ?? ["the API server"];
        const { aud } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString()) as { aud: string[] };
        const isGood = aud.some((audience) => (audiences as string[]).includes(audience));
        const audience = this.knowsAudiences ? { audiences: aud } : {};
        return {
          status: isGood ? { authenticated: true, ...audience, user: { username: "reader", groups: ["g"] } } : {},
        };
      }
      expect(spec).not.to.have.property("audiences");
      const known = ["reader", "writer", "stranger"].includes(String(spec.token));
      return { status: known ? { authenticated: true, user: { username: spec.token, groups: ["g"] } } : {} };
    }
    const attributes = spec.resourceAttributes as Record<string, string>;
    expect(attributes).to.include({
      group: "millrace.dev",
      resource: "executions",
      subresource: "payload",
    });
    const mayOnlyRead = spec.user === "reader" && attributes.verb === "get";
    const mayOnlyAdd = spec.user === "writer" && attributes.verb === "create";
    const namespaces = mayOnlyAdd ? ["team", "neighbour"] : ["team"];
    expect(spec.groups).to.deep.equal(["g"]);
    const allowed = this.allowed && (mayOnlyRead || mayOnlyAdd) && namespaces.includes(attributes.namespace ?? "");
    return { status: { allowed } };
  }
}

/** A payload endpoint on a free port, and its store. */
export async function opened(reviews: Reviews, ports: Ports = systemPorts, worksIn: readonly string[] = []) {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryStore());
  const namespaces = new NamespaceUids(reviews.client, ports.clock);
  const common = { client: reviews.client, store: folder.store, namespaces, worksIn, ports, logger: silentLogger };
  const endpoint = stack.use(await servePayloads({ ...common, host: "127.0.0.1", port: 0 }));
  const kept = stack.move();
  const get = (path: string, token?: string, method = "GET") =>
    fetch(`${endpoint.url}${path}`, {
      method,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    });
  return { endpoint, folder, get, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
