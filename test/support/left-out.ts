/** What a machine may lack: a Kubernetes API server, an OCI registry, the right to mount a file system, another major of Node. */
export type Need = "cluster" | "registry" | "mount" | "node";

/**
 * Leaves the test, or the suite of the hook, out with a line that says why; fails it where MILLRACE_REQUIRE names the need. For a
 * function of mocha's, which passes its `this`.
 *
 * @param what a sentence of what is needed and how to get it, without its full stop
 */
export function leaveOut(context: Mocha.Context, need: Need, what: string): never {
  const required = (process.env.MILLRACE_REQUIRE ?? "").split(",").map((name) => name.trim());
  const title = titleOf(context);
  if (required.includes(need)) throw new Error(`MILLRACE_REQUIRE names ${need}, and there is none: "${title}" ${what}`);
  console.log(`Left out: "${title}" ${what}.`);
  return context.skip();
}

/** Of a hook its suite's. */
function titleOf({ test }: Mocha.Context): string {
  const isHook = test !== undefined && "type" in test && test.type === "hook";
  return (isHook ? test.parent?.fullTitle() : test?.fullTitle()) ?? "a suite";
}
