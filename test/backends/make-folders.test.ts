import { mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { makeFolders } from "../../backends/make-folders.ts";

describe("making a folder and those that it lies in", () => {
  let root: string;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "millrace-folders-"));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const codeOf = (path: string) =>
    makeFolders(path).then(
      () => "none",
      (error: NodeJS.ErrnoException) => error.code,
    );

  it("makes all that is not there, each with the mode", async () => {
    await makeFolders(join(root, "a/b/c"), 0o700);
    for (const path of ["a", "a/b", "a/b/c"]) {
      expect((await stat(join(root, path))).mode & 0o777, path).to.equal(0o700);
    }
  });

  it("leaves one that is there as it is, also behind a link", async () => {
    await mkdir(join(root, "there"), { mode: 0o750 });
    await writeFile(join(root, "there/file"), "x");
    await symlink("there", join(root, "link"));
    for (const path of ["there", "link", "."]) await makeFolders(join(root, path), 0o700);
    expect((await stat(join(root, "there"))).mode & 0o777).to.equal(0o750);
    expect(await readdir(join(root, "there"))).to.deep.equal(["file"]);
  });

  it("makes one for all who ask at once", async () => {
    await Promise.all(Array.from({ length: 8 }, () => makeFolders(join(root, "a/b/c"))));
    expect((await stat(join(root, "a/b/c"))).isDirectory()).to.equal(true);
  });

  it("fails where a file is in the way", async () => {
    await writeFile(join(root, "file"), "x");
    expect(await codeOf(join(root, "file"))).to.equal("EEXIST");
    expect(await codeOf(join(root, "file/a/b"))).to.equal("ENOTDIR");
  });

  it("fails at once where the system makes none", async () => {
    await symlink("/dev/null/nowhere", join(root, "nowhere"));
    expect(await codeOf("/proc/millrace/a")).to.not.equal("none");
    expect(await codeOf(join(root, "nowhere/a"))).to.not.equal("none");
  });
});
