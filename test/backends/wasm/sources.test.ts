import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { readModuleKey } from "../../../backends/wasm/sources/config-map.ts";
import { readModuleFile } from "../../../backends/wasm/sources/file.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { rejection } from "./processors.ts";

const never = new AbortController().signal;
const content = Uint8Array.from([1, 2, 3, 4]);

describe("WASM modules from files", () => {
  let root: string;
  let modules: string;

  before(async () => {
    root = await mkdtemp(join(tmpdir(), "millrace-modules-"));
    modules = join(root, "modules");
    await mkdir(join(modules, "nested"), { recursive: true });
    await mkdir(join(root, "modules-of-others"));
    await writeFile(join(modules, "nested/words.wasm"), content);
    await writeFile(join(root, "secret.wasm"), content);
    await writeFile(join(root, "modules-of-others/secret.wasm"), content);
    await symlink("nested/words.wasm", join(modules, "link.wasm"));
    await symlink("../secret.wasm", join(modules, "out.wasm"));
    await symlink("../modules-of-others", join(modules, "others"));
    execFileSync("mkfifo", [join(modules, "pipe.wasm")]);
  });
  after(() => rm(root, { recursive: true, force: true }));

  const read = (file: string, maxBytes = 100) => readModuleFile(modules, file, maxBytes, never);

  it("are read, also through a link that stays in the directory", async () => {
    const module = await read("nested/words.wasm");
    expect([...module.bytes]).to.deep.equal([...content]);
    expect(module.source).to.equal("file nested/words.wasm");
    expect([...(await read("link.wasm")).bytes]).to.deep.equal([...content]);
  });

  for (const file of [
    "../secret.wasm",
    "nested/../../secret.wasm",
    "/etc/passwd",
    "..\\secret.wasm",
    "a\0.wasm",
    "..",
  ]) {
    it(`cannot climb out by ${JSON.stringify(file)}`, async () => {
      expect((await rejection(read(file))).code).to.equal("SandboxViolation");
    });
  }

  for (const file of ["out.wasm", "others/secret.wasm", "."]) {
    it(`cannot be outside of the directory, as ${file} is`, async () => {
      expect((await rejection(read(file))).code).to.equal("SandboxViolation");
    });
  }

  it("that are missing are not found", async () => {
    expect((await rejection(read("none.wasm"))).code).to.equal("NotFound");
    expect((await rejection(read("nested/words.wasm/more"))).code).to.equal("NotFound");
    expect((await rejection(readModuleFile(undefined, "words.wasm", 100, never))).code).to.equal("NotFound");
    expect((await rejection(readModuleFile(join(root, "gone"), "words.wasm", 100, never))).code).to.equal("NotFound");
  });

  it("must be regular files; a pipe holds nobody up", async () => {
    expect((await rejection(read("nested"))).code).to.equal("InvalidInput");
    expect((await rejection(read("pipe.wasm"))).code).to.equal("InvalidInput");
  });

  it("over the size limit are refused with both sizes, however large, without being read", async () => {
    await writeFile(join(modules, "huge.wasm"), "");
    await truncate(join(modules, "huge.wasm"), 2 ** 40);
    const error = await rejection(read("huge.wasm"));
    expect(error.code).to.equal("PayloadTooLarge");
    expect(error.message)
      .to.include(String(2 ** 40))
      .and.include("100 bytes");
    expect((await read("nested/words.wasm", 4)).bytes).to.have.length(4);
    expect((await rejection(read("nested/words.wasm", 3))).code).to.equal("PayloadTooLarge");
  });

  it("are not read for somebody who has gone", async () => {
    const gone = AbortSignal.abort(new MillraceError("Cancelled", "gone"));
    expect((await rejection(readModuleFile(modules, "link.wasm", 100, gone))).code).to.equal("Cancelled");
  });
});

describe("WASM modules from ConfigMaps", () => {
  const ref = { name: "modules", key: "words.wasm" };

  it("are read in the Processor's namespace", async () => {
    const asked: string[] = [];
    const module = await readModuleKey(
      (...names) => {
        asked.push(...names.slice(0, 3).map(String));
        return Promise.resolve(content);
      },
      "team",
      ref,
      100,
      never,
    );
    expect(asked).to.deep.equal(["team", "modules", "words.wasm"]);
    expect(module).to.deep.equal({ bytes: content, source: "ConfigMap modules/words.wasm" });
  });

  it("keep the error of whoever reads them, and are unavailable when it is none of ours", async () => {
    const missing = new MillraceError("NotFound", "no such key");
    expect(await rejection(readModuleKey(() => Promise.reject(missing), "team", ref, 100, never))).to.equal(missing);
    const cause = new Error("socket hang up");
    const error = await rejection(readModuleKey(() => Promise.reject(cause), "team", ref, 100, never));
    expect(error.code).to.equal("Unavailable");
    expect(error.cause).to.equal(cause);
  });

  it("over the size limit are refused with both sizes", async () => {
    const error = await rejection(readModuleKey(() => Promise.resolve(content), "team", ref, 3, never));
    expect(error.code).to.equal("PayloadTooLarge");
    expect(error.message).to.include("4 bytes").and.include("3 bytes");
  });
});
