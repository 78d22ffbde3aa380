import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect } from "chai";
import type { LoadedProcessor } from "../../../backends/backend.ts";
import { contextOf, grpcAt, httpAt, requestOf, rpcBackend, specOf } from "../../support/rpc/calls.ts";

const root = join(import.meta.dirname, "../../..");
const never = new AbortController().signal;

/** Runs a server of docs/rpc.md as a reader would, and gives the port on which it says that it listens. */
async function startExample(file: string): Promise<AsyncDisposable & { readonly port: string }> {
  const page = readFileSync(join(root, "docs/rpc.md"), "utf8");
  const code = page.split(`\`\`\`js ${file}\n`)[1]?.split("\n```")[0];
  if (code === undefined) throw new Error(`docs/rpc.md has no example ${file}`);
  const folder = mkdtempSync(join(tmpdir(), "millrace-example-"));
  writeFileSync(join(folder, file), code);
  copyFileSync(join(root, "backends/rpc/processor.proto"), join(folder, "processor.proto"));
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const env = { ...process.env, PORT: "0" };
  const child = spawn(process.execPath, [file], { cwd: folder, env, stdio: ["ignore", "pipe", "inherit"] });
  const exit = once(child, "exit");
  const line = await Promise.race([once(createInterface({ input: child.stdout }), "line"), exit]);
  return {
    port: String(line[0]).replace("listening on ", ""),
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await exit;
      rmSync(folder, { recursive: true });
    },
  };
}

async function countsWords(processor: LoadedProcessor): Promise<void> {
  const log: string[] = [];
  const context = contextOf({ secrets: { key: "k3y ü" }, log: (text) => log.push(text) });
  const response = await processor.process(requestOf("one two three"), context);
  expect(log).to.deep.equal(["counted 3 words with the key k3y ü"]);
  if (!response.ok) throw new Error("expected a result");
  expect(Buffer.from(await response.payload.bytes(never)).toString()).to.equal("3");
  expect([response.payload.contentType, response.metadata]).to.deep.equal(["text/plain", { words: "3" }]);
  expect(await processor.process(requestOf(""), contextOf())).to.deep.equal({
    ok: false,
    metadata: {},
    error: { code: "InvalidInput", message: "there is no text", retryable: false },
  });
  await processor.probe?.(never);
}

describe("the servers that docs/rpc.md shows", () => {
  it("count words behind gRPC", async () => {
    await using server = await startExample("server-grpc.mjs");
    await using backend = rpcBackend();
    await countsWords(await backend.load(specOf(grpcAt(`127.0.0.1:${server.port}`)), never));
  });

  it("count words behind HTTP", async () => {
    await using server = await startExample("server-http.mjs");
    await using backend = rpcBackend();
    await countsWords(await backend.load(specOf(httpAt(`http://127.0.0.1:${server.port}`)), never));
  });
});
