// The test command: `npm test [-- GLOB…]`. Mocha over every suite; a suite that this machine cannot run says so in one
// line, unless MILLRACE_REQUIRE (a comma-separated list: cluster, node) turns that into a failure.
import { spawnSync } from "node:child_process";

const patterns = process.argv.slice(2);
const globs = patterns.length > 0 ? patterns : ["test/**/*.test.ts"];
const result = spawnSync(process.execPath, ["node_modules/mocha/bin/mocha.js", ...globs], { stdio: "inherit" });
process.exit(result.status ?? 1);
