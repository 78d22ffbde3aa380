// A one-step pipeline (the built-in text.uppercase) by `millrace run`, whole process, as users have it: the built package, with
// Node's compile cache filled by an earlier run. The baseline is `node -e ''`, the least that any command written for Node
// costs, by the same executable in the same way: started, its output read to the end, its exit awaited. The rest is ours:
// loading the code, reading and checking the manifests, the run, the output.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bench, compare } from "./bench.ts";

const maxRatio = 4;
const manifests = `
apiVersion: millrace.dev/v1alpha1
kind: Pipeline
metadata: { name: one }
spec:
  steps:
    - { name: shout, processor: upper }
---
apiVersion: millrace.dev/v1alpha1
kind: Processor
metadata: { name: upper }
spec:
  local: { builtin: text.uppercase }
`;

export const bench: Bench = async () => {
  execute("scripts/build.ts");
  const folder = mkdtempSync(join(tmpdir(), "millrace-run-cli-"));
  try {
    const file = join(folder, "one.yaml");
    writeFileSync(file, manifests);
    const { oursUs, baselineUs } = await compare({
      units: 1,
      rounds: 31,
      ours: () => (execute("dist/main.js", "run", "-f", file, "--input", "hello") === "HELLO" ? 1 : 0),
      baseline: () => (execute("-e", "") === "" ? 1 : 0),
    });
    const ratio = oursUs / baselineUs;
    return [
      {
        name: "run-cli",
        ratio,
        bar: `<= ${maxRatio}`,
        ok: ratio <= maxRatio,
        metrics: { ms: oursUs / 1000 },
        baseline: { ms: baselineUs / 1000 },
      },
    ];
  } finally {
    rmSync(folder, { recursive: true });
  }
};

/** What it wrote to standard output. Throws unless it ends with 0. */
function execute(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`node ${args.join(" ")} ended with ${status}: ${stderr}`);
  return stdout;
}
