import { execFileSync } from "node:child_process";
import { appendFileSync, truncateSync } from "node:fs";
import { mkdir, mkdtemp, realpath, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { type ConfinedFile, readConfinedFile } from "../../backends/confined-file.ts";
import { MillraceError } from "../../engine/errors.ts";
import { never, rejection } from "./support.ts";

describe("a file confined to a directory", () => {
  let root: string;
  let directory: string;

  beforeEach(async () => {
    root = await realpath(await mkdtemp(join(tmpdir(), "millrace-confined-")));
    directory = join(root, "inside");
    await mkdir(join(directory, "nested"), { recursive: true });
    await mkdir(join(root, "inside-of-others"));
    await writeFile(join(directory, "nested/words"), "mill");
    await writeFile(join(root, "secret"), "race");
    await writeFile(join(root, "inside-of-others/secret"), "race");
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  function confinedTo(file: string, maxBytes = 100): ConfinedFile {
    const tooLarge = (bytes: number) => new MillraceError("PayloadTooLarge", `${bytes} over ${maxBytes}`);
    return { directory, file, directoryName: "test directory", field: "spec.file", maxBytes, tooLarge };
  }
  const read = (file: string, maxBytes?: number) => readConfinedFile(confinedTo(file, maxBytes), never);
  const text = async (file: string, maxBytes?: number) => Buffer.from((await read(file, maxBytes)).bytes).toString();
  /** Does something each time that the reader asks whether it should go on: before the file is opened, and before each read. */
  const whileReading = (act: () => void) =>
    Object.assign(new AbortController().signal, { throwIfAborted: () => act() });

  it("is read with its real path, also through links that stay inside", async () => {
    await symlink("nested/words", join(directory, "link"));
    await symlink(join(directory, "nested"), join(directory, "folder"));
    const { path, bytes } = await read("link");
    expect([path, bytes.byteLength]).to.deep.equal([join(directory, "nested/words"), 4]);
    expect(await text("folder/words")).to.equal("mill");
    await writeFile(join(directory, "empty"), "");
    expect(await text("empty")).to.equal("");
  });

  it("may have a link for its directory, as a mounted volume has", async () => {
    await symlink(directory, join(root, "mounted"));
    const mounted = { ...confinedTo("nested/words"), directory: join(root, "mounted") };
    expect((await readConfinedFile(mounted, never)).path).to.equal(join(directory, "nested/words"));
  });

  for (const file of ["../secret", "nested/../../secret", "/etc/passwd", "..\\secret", "a\0", "..", ".", ""]) {
    it(`cannot climb out by ${JSON.stringify(file)}`, async () => {
      const error = await rejection(read(file));
      expect(error.code).to.equal("SandboxViolation");
      expect(error.message)
        .to.match(/^spec\.file: /)
        .and.include("test directory");
    });
  }

  it("cannot be a link out, nor be behind one, nor be in a directory whose name begins alike", async () => {
    await symlink("../secret", join(directory, "out"));
    await symlink("../inside-of-others", join(directory, "others"));
    for (const file of ["out", "others/secret"]) {
      expect((await rejection(read(file))).code).to.equal("SandboxViolation");
    }
  });

  it("must be a regular file; a pipe holds nobody up", async () => {
    execFileSync("mkfifo", [join(directory, "pipe")]);
    for (const file of ["nested", "pipe"]) {
      expect((await rejection(read(file))).code).to.equal("InvalidInput");
    }
  });

  it("is not found when it, or its directory, is not there", async () => {
    for (const file of ["none", "nested/words/more"]) {
      expect((await rejection(read(file))).code).to.equal("NotFound");
    }
    const gone = { ...confinedTo("nested/words"), directory: join(root, "gone") };
    expect((await rejection(readConfinedFile(gone, never))).code).to.equal("NotFound");
  });

  it("is unavailable when a link leads to itself", async () => {
    await symlink("loop", join(directory, "loop"));
    const error = await rejection(read("loop"));
    expect([error.code, error.message.includes("ELOOP")]).to.deep.equal(["Unavailable", true]);
  });

  it("is refused over its limit by its size, however large, and taken at its limit", async () => {
    await writeFile(join(directory, "huge"), "");
    await truncate(join(directory, "huge"), 2 ** 40);
    expect((await rejection(read("huge"))).message).to.equal(`${2 ** 40} over 100`);
    expect(await text("nested/words", 4)).to.equal("mill");
    expect((await rejection(read("nested/words", 3))).code).to.equal("PayloadTooLarge");
  });

  it("is neither cut nor read on when it grows while it is read", async () => {
    const growing = whileReading(() => appendFileSync(join(directory, "nested/words"), "more"));
    const error = await rejection(readConfinedFile(confinedTo("nested/words"), growing));
    expect(error.code).to.equal("Unavailable");
    expect(error.message).to.include("changed while it was read");
  });

  it("is not taken when it is cut while it is read", async () => {
    let checks = 0;
    const cut = whileReading(() => {
      checks += 1;
      if (checks === 2) truncateSync(join(directory, "nested/words"), 1);
    });
    expect((await rejection(readConfinedFile(confinedTo("nested/words"), cut))).code).to.equal("Unavailable");
  });

  it("is not read for somebody who has gone", async () => {
    const gone = AbortSignal.abort(new MillraceError("Cancelled", "gone"));
    expect((await rejection(readConfinedFile(confinedTo("nested/words"), gone))).code).to.equal("Cancelled");
  });
});
