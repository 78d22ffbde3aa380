import { expect } from "chai";
import type { Credential } from "../../../../backends/wasm/sources/oci/auth.ts";
import { ociSource } from "../../../../backends/wasm/sources/oci/oci-source.ts";
import { parseReference } from "../../../../backends/wasm/sources/oci/reference.ts";
import { startHttpServer } from "../../../support/rpc/http-server.ts";
import { clientOf, credential, never, rejection } from "./support.ts";

describe("an OCI source that is refused", () => {
  async function refusal(used: { readonly credential?: Credential; readonly pullSecret?: string }): Promise<string> {
    await using server = await startHttpServer((_request, response) => {
      response.writeHead(401, { "www-authenticate": 'Basic realm="words"' }).end();
    });
    const { host } = new URL(server.endpoint);
    await using own = clientOf([host]);
    const reference = parseReference(`${host}/words:1`);
    const source = ociSource({ registry: own.client, reference, credential: undefined, ...used });
    const error = await rejection(source.resolve(undefined, never));
    expect(error).to.include({ code: "InvalidInput", refusal: "Unauthorized" });
    return error.message.replaceAll(host, "HOST");
  }

  it("names the Secret whose credentials were not taken, and nothing of them", async () => {
    const message = await refusal({ credential, pullSecret: "words-pull" });
    expect(message).to.include("The Secret words-pull is the one that was used.");
    if (credential.kind === "Password") expect(message).not.to.include(credential.password);
  });

  it("names the Secret that has none for the registry", async () => {
    expect(await refusal({ pullSecret: "words-pull" })).to.include("The Secret words-pull has no entry for HOST.");
  });

  it("says where there is no Secret that one can be named", async () => {
    expect(await refusal({}))
      .to.include("spec.wasm.pullSecretRef")
      .and.not.include("The Secret ");
  });
});
