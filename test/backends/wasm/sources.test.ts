import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { SourceRefusal } from "../../../backends/source-refusal.ts";
import { configMapSource, type ReadConfigMapKey } from "../../../backends/wasm/sources/config-map.ts";
import { ModuleFiles } from "../../../backends/wasm/sources/file.ts";
import { MillraceError } from "../../../engine/errors.ts";
import { digestOf } from "../../../engine/payload.ts";
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

  const read = (file: string, maxBytes = 100) => new ModuleFiles(modules, maxBytes).source(file).read(never);

  it("are read, also through a link that stays in the directory", async () => {
    expect([...(await read("nested/words.wasm"))]).to.deep.equal([...content]);
    expect([...(await read("link.wasm"))]).to.deep.equal([...content]);
    expect(new ModuleFiles(modules, 100).source("link.wasm").name).to.equal("file link.wasm");
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
    for (const directory of [undefined, join(root, "gone")]) {
      const source = new ModuleFiles(directory, 100).source("words.wasm");
      expect((await rejection(source.read(never))).code).to.equal("NotFound");
      expect((await rejection(source.resolve(never))).code).to.equal("NotFound");
    }
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
    expect(await read("nested/words.wasm", 4)).to.have.length(4);
    expect((await rejection(read("nested/words.wasm", 3))).code).to.equal("PayloadTooLarge");
  });

  it("are not read for somebody who has gone", async () => {
    const gone = AbortSignal.abort(new MillraceError("Cancelled", "gone"));
    const source = new ModuleFiles(modules, 100).source("link.wasm");
    expect((await rejection(source.read(gone))).code).to.equal("Cancelled");
  });

  it("are another version once their content is another, and the same one otherwise", async () => {
    const path = join(modules, "edited.wasm");
    await writeFile(path, content);
    const source = new ModuleFiles(modules, 100).source("edited.wasm");
    const first = await source.resolve(never);
    expect(first).to.deep.equal({ version: digestOf(content), checkAgainMs: 5000 });
    expect(await source.resolve(never)).to.deep.equal(first);
    await writeFile(path, Uint8Array.from([4, 3, 2, 1]));
    expect((await source.resolve(never)).version).to.equal(digestOf(Uint8Array.from([4, 3, 2, 1])));
    await writeFile(path, content);
    expect(await source.resolve(never)).to.deep.equal(first);
  });

  it("have their signatures beside them", async () => {
    await writeFile(join(modules, "signed.wasm"), content);
    await writeFile(join(modules, "signed.wasm.sig"), "signature");
    const files = new ModuleFiles(modules, 100);
    const found = await files.source("signed.wasm").signatures(never);
    expect(found).to.deep.equal({
      kind: "Detached",
      files: [new Uint8Array(Buffer.from("signature"))],
      sought: "signed.wasm.minisig and signed.wasm.sig",
    });
    expect(await files.source("link.wasm").signatures(never)).to.deep.include({ files: [] });
  });

  for (const [what, put, code] of [
    ["a pipe", (path: string) => Promise.resolve(execFileSync("mkfifo", [path])), "InvalidInput"],
    ["a folder", (path: string) => mkdir(path), "InvalidInput"],
    ["a link to a device that never ends", (path: string) => symlink("/dev/zero", path), "SandboxViolation"],
    ["20 GiB", (path: string) => writeFile(path, "").then(() => truncate(path, 20 * 2 ** 30)), "InvalidInput"],
  ] as const) {
    it(`and their signatures are not read where there is ${what}`, async () => {
      for (const name of ["odd.wasm", "odd.wasm.sig"]) await rm(join(modules, name), { recursive: true, force: true });
      const odd = new ModuleFiles(modules, 100).source("odd.wasm");
      await put(join(modules, "odd.wasm.sig"));
      const startMs = performance.now();
      expect((await rejection(odd.signatures(never))).code).to.equal(code);
      await put(join(modules, "odd.wasm"));
      for (const asked of [odd.read(never), odd.resolve(never)]) {
        expect((await rejection(asked)).code).to.equal(what === "20 GiB" ? "PayloadTooLarge" : code);
      }
      expect(performance.now() - startMs).to.be.below(1000);
    });
  }

  it("are refused for the signature, and not for their size, where that is larger than any", async () => {
    await writeFile(join(modules, "signed.wasm.sig"), "");
    await truncate(join(modules, "signed.wasm.sig"), 5_000_000);
    const error = await rejection(new ModuleFiles(modules, 100).source("signed.wasm").signatures(never));
    expect(error).to.be.instanceOf(SourceRefusal).and.include({ refusal: "SignatureRefused" });
    expect(error.message).to.include("file signed.wasm.sig").and.include("5000000").and.not.include("Strip");
  });
});

describe("WASM modules from ConfigMaps", () => {
  const read = (reader: ReadConfigMapKey, maxBytes = 100) =>
    configMapSource(reader, "team", { name: "modules", key: "words.wasm" }, maxBytes);

  it("are read in the Processor's namespace", async () => {
    const asked: string[] = [];
    const source = read((...names) => {
      asked.push(...names.slice(0, 3).map(String));
      return Promise.resolve(content);
    });
    expect(await source.read(never)).to.equal(content);
    expect(asked).to.deep.equal(["team", "modules", "words.wasm"]);
    expect(source.name).to.equal("ConfigMap modules/words.wasm");
  });

  it("keep the error of whoever reads them, and are unavailable when it is none of ours", async () => {
    const missing = new MillraceError("NotFound", "no such key");
    expect(await rejection(read(() => Promise.reject(missing)).read(never))).to.equal(missing);
    const cause = new Error("socket hang up");
    const error = await rejection(read(() => Promise.reject(cause)).read(never));
    expect(error.code).to.equal("Unavailable");
    expect(error.cause).to.equal(cause);
  });

  it("over the size limit are refused with both sizes", async () => {
    const error = await rejection(read(() => Promise.resolve(content), 3).read(never));
    expect(error.code).to.equal("PayloadTooLarge");
    expect(error.message).to.include("4 bytes").and.include("3 bytes");
  });

  it("have their signatures under keys beside theirs", async () => {
    const source = read((_namespace, _name, key) =>
      key === "words.wasm.minisig"
        ? Promise.resolve(content)
        : Promise.reject(new MillraceError("NotFound", "no such key")),
    );
    expect(await source.signatures(never)).to.deep.include({ kind: "Detached", files: [content] });
  });
});
