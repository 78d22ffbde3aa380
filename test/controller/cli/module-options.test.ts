import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { Command } from "commander";
import type { CliContext } from "../../../controller/cli/context.ts";
import { type ModuleFlags, moduleOptions, modulesFrom } from "../../../controller/cli/module-options.ts";
import type { ModuleOptions } from "../../../controller/processor/load.ts";

/** What the flags say; rejects as the command would end. */
async function given(
  args: readonly string[],
  env: CliContext["env"] = {},
  cwd = "/srv/project",
): Promise<ModuleOptions> {
  const command = new Command().exitOverride().configureOutput({ writeErr: () => undefined });
  for (const option of moduleOptions()) command.addOption(option);
  command.parse(args, { from: "user" });
  return await modulesFrom(command.opts<ModuleFlags>(), { env, cwd } as CliContext);
}

async function refusal(...args: readonly string[]): Promise<string> {
  return await given(args).then(
    () => "none",
    (error: unknown) => (error as Error).message,
  );
}

describe("where modules are fetched from and kept", () => {
  it("is in the user's cache, and nowhere but in memory where there is none", async () => {
    const none = { cacheBytes: 1024 ** 3, allowAddresses: [], insecureRegistries: [] };
    expect(await given([])).to.deep.equal(none);
    expect(await given([], { HOME: "/home/a" })).to.deep.equal({
      ...none,
      cacheDir: "/home/a/.cache/millrace/modules",
    });
    const env = { HOME: "/home/a", XDG_CACHE_HOME: "/cache" };
    expect((await given([], env)).cacheDir).to.equal("/cache/millrace/modules");
    expect((await given(["--module-cache-dir", "here"], env)).cacheDir).to.equal("/srv/project/here");
  });

  it("is as the flags say, which may be repeated", async () => {
    const ranges = ["10.20.0.0/16", "fd00::/8", "192.0.2.7"].flatMap((range) => ["--allow-addresses", range]);
    const hosts = ["registry.local", "127.0.0.1:5000", "[::1]:5000"].flatMap((host) => ["--insecure-registry", host]);
    expect(await given([...ranges, ...hosts, "--module-cache-size=10Mi"])).to.deep.equal({
      cacheBytes: 10 * 1024 ** 2,
      allowAddresses: ["10.20.0.0/16", "fd00::/8", "192.0.2.7/32"],
      insecureRegistries: ["registry.local", "127.0.0.1:5000", "[::1]:5000"],
    });
  });

  for (const range of ["10.20.0.0/33", "10.20", "fd00::/129", "10.0.0.0/8/8", "10.0.0.0/", "localhost"]) {
    it(`refuses ${range} as a range of addresses`, async () => {
      expect(await refusal("--allow-addresses", range)).to.contain("no range of addresses such as 10.20.0.0/16");
    });
  }

  for (const host of ["http://a", "a/b", "a:", "a:x", ""]) {
    it(`refuses ${JSON.stringify(host)} as a registry`, async () => {
      expect(await refusal("--insecure-registry", host)).to.contain("no host such as registry.local");
    });
  }

  it("refuses a size that is none", async () => {
    expect(await refusal("--module-cache-size", "much")).to.contain("--module-cache-size");
  });

  it("trusts the certificates of a file, and says what is wrong with one that has none", async () => {
    const folder = await mkdtemp(join(tmpdir(), "millrace-ca-"));
    try {
      const pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
      await writeFile(join(folder, "ca.pem"), pem);
      await writeFile(join(folder, "ca.der"), "0");
      expect((await given(["--registry-ca-file", "ca.pem"], {}, folder)).ca).to.equal(pem);
      expect(await refusal("--registry-ca-file", join(folder, "ca.der"))).to.contain("no certificate in PEM");
      expect(await refusal("--registry-ca-file", join(folder, "none"))).to.contain("cannot be read");
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
