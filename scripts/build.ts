// `npm run build`: what is published, in `dist/`. One flat folder of bundles, so that what the sources find beside themselves
// (a worker, the .proto) is beside every bundle too. Why bundles: `controller/cli/adr/0001-bundled-package.md`.
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BuildOptions, build as bundle, type Metafile, type Plugin } from "esbuild";

const out = "dist";
const manifest: { readonly dependencies: Readonly<Record<string, string>> } = JSON.parse(
  readFileSync("package.json", "utf8"),
);

/**
 * Built-ins that Node takes milliseconds to load and that most commands do not need, or, as `process`, whose import opens every
 * standard stream. A name that is imported from one and not here fails the build.
 */
const lazyBuiltIns: Readonly<Record<string, string>> = {
  "node:crypto": lazyFunctions("node:crypto", [
    "createCipheriv",
    "createHash",
    "createPublicKey",
    "getRandomValues",
    "randomUUID",
    "verify",
  ]),
  "node:child_process":
    'export default { spawn: (...args) => process.getBuiltinModule("node:child_process").spawn(...args) };',
  "node:process": "export default globalThis.process;",
};

function lazyFunctions(module: string, names: readonly string[]): string {
  return names
    .map((name) => `export const ${name} = (...args) => process.getBuiltinModule("${module}").${name}(...args);`)
    .join("\n");
}

const lazily: Plugin = {
  name: "lazy-built-ins",
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path }) =>
      Object.hasOwn(lazyBuiltIns, path) ? { path, namespace: "lazy" } : undefined,
    );
    build.onLoad({ filter: /.*/, namespace: "lazy" }, ({ path }) => ({ contents: lazyBuiltIns[path] ?? "" }));
  },
};

const options = {
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node24",
  outdir: out,
  // `dependencies` are installed beside us; what else is imported is bundled.
  external: Object.keys(manifest.dependencies),
  // The build of yaml for browsers is the one in ES modules.
  alias: { yaml: join(process.cwd(), "node_modules/yaml/browser/dist/index.js") },
  mainFields: ["module", "main"],
  plugins: [lazily],
  metafile: true,
  logLevel: "warning",
} as const satisfies BuildOptions;

rmSync(out, { recursive: true, force: true });
const { status } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], {
  stdio: "inherit",
});
if (status !== 0) process.exit(status ?? 1);

const main = await bundle({ ...options, entryPoints: { main: "controller/main.ts" }, splitting: true });
// Each worker is one file: workers start in milliseconds.
const workers = await bundle({
  ...options,
  entryPoints: { "module-worker": "backends/local/module-worker.ts", worker: "backends/wasm/calls/worker.ts" },
});
copyFileSync("backends/rpc/processor.proto", join(out, "processor.proto"));
chmodSync(join(out, "main.js"), 0o755);
writeFileSync(join(out, "THIRD-PARTY-NOTICES.txt"), notices([main.metafile, workers.metafile]));

/** The licences of the packages that were bundled, as each of them asks for. Throws where one has none that is known to allow it. */
function notices(metafiles: readonly Metafile[]): string {
  const packages = new Set(
    metafiles
      .flatMap(({ inputs }) => Object.keys(inputs))
      .flatMap((path) => /^.*\bnode_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []),
  );
  return [...packages]
    .sort()
    .map(notice)
    .join(`\n${"-".repeat(80)}\n\n`);
}

function notice(folder: string): string {
  const { name, version, license }: Readonly<Record<string, string>> = JSON.parse(
    readFileSync(join(folder, "package.json"), "utf8"),
  );
  if (license !== "MIT" && license !== "ISC") {
    throw new Error(`${name} ${version} is ${license}: bundle only what is MIT or ISC, or make it a dependency`);
  }
  return `${name} ${version} (${license})\n\n${readFileSync(join(folder, "LICENSE"), "utf8")}`;
}
