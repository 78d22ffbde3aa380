// `npm run build`: JavaScript for the published package, as Node does not strip types under node_modules.
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, globSync, rmSync } from "node:fs";
import { join } from "node:path";

rmSync("dist", { recursive: true, force: true });
const { status } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], {
  stdio: "inherit",
});
if (status !== 0) process.exit(status ?? 1);

// What the code reads beside itself at run time.
for (const asset of globSync("{engine,backends,controller}/**/*.proto")) cpSync(asset, join("dist", asset));
chmodSync("dist/controller/main.js", 0o755);
