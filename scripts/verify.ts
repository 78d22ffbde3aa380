// `npm run verify`: everything that must hold before a commit lands: generated files, format, lint, types, tests, clean tree.
import { spawnSync } from "node:child_process";

const steps: readonly (readonly [string, readonly string[]])[] = [
  ["generated files are current", ["npm", "run", "--silent", "generate", "--", "--check"]],
  ["format and lint", ["npm", "run", "--silent", "lint"]],
  ["types", ["npm", "run", "--silent", "typecheck"]],
  ["tests", ["npm", "test", "--silent"]],
  ["clean tree", ["sh", "-c", 'git status --porcelain && test -z "$(git status --porcelain)"']],
];

for (const [name, [command = "", ...args]] of steps) {
  console.log(`verify: ${name}`);
  const { status } = spawnSync(command, args, { stdio: "inherit" });
  if (status === 0) continue;
  console.error(`verify: failed at: ${name}`);
  process.exit(1);
}
console.log("verify: all good");
