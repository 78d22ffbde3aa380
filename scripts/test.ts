// `npm test [-- GLOB…]`: mocha over every suite. A suite that this machine cannot run says so in one line;
// MILLRACE_REQUIRE (a comma-separated list, for example `cluster`) turns that into a failure.
import { spawnSync } from "node:child_process";

const globs = process.argv.slice(2);
const { status } = spawnSync(
  process.execPath,
  [
    "node_modules/mocha/bin/mocha.js",
    "--reporter",
    "test/support/reporter.ts",
    ...(globs.length > 0 ? globs : ["test/**/*.test.ts"]),
  ],
  { stdio: "inherit" },
);
process.exit(status ?? 1);
