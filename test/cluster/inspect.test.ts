import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { Execution } from "../../controller/api/types.ts";
import { millrace, type Ran } from "../support/millrace.ts";
import { useCluster } from "./cluster.ts";
import { ControllerProcess } from "./controller-process.ts";
import { type Manifest, Namespace, pipeline, processor } from "./manifests.ts";

const upper = processor("upper", { local: { builtin: "text.uppercase" } });
const shout = processor("shout", { local: { module: { file: "shout.mjs" } } });

const module = `export const process = ({ payload, contentType }, context) => {
  context.log("got " + payload.length + " bytes");
  return { payload, contentType };
};`;

function execution(name: string, spec: Readonly<Record<string, unknown>>): Manifest {
  return { kind: "Execution", metadata: { name }, spec };
}

describe("millrace inspect, logs and graph against a real API server", function () {
  this.timeout(120_000);
  const cluster = useCluster();
  let namespace: Namespace;

  beforeEach(async () => {
    namespace = await Namespace.create(cluster);
  });

  function look(command: string, ...args: readonly string[]): Promise<Ran> {
    const where = ["--kubeconfig", cluster.kubeconfig, "-n", namespace.name];
    return millrace([command, ...args, ...where], { env: { LC_ALL: "C" } });
  }

  /** As a controller would. */
  async function report(name: string, status: Readonly<Record<string, unknown>>): Promise<void> {
    const patch = JSON.stringify({ status });
    await namespace.kubectl("patch", "mexec", name, "--subresource=status", "--type=merge", "-p", patch);
  }

  function standing(phase: string, message: string): Readonly<Record<string, unknown>> {
    const common = { lastTransitionTime: "2026-11-28T00:00:00Z", reason: phase, message };
    const statuses: Readonly<Record<string, string>> = { Succeeded: "True", Running: "Unknown" };
    const succeeded = { ...common, type: "Succeeded", status: statuses[phase] ?? "False" };
    const complete = phase === "Running" ? [] : [{ ...common, type: "Complete", status: "True" }];
    return { phase, conditions: [succeeded, ...complete] };
  }

  const watched = ["clean", "count"].map((name) => ({ name, state: "Waiting" }));

  describe("without a controller", () => {
    beforeEach(() => namespace.apply(execution("one", { pipeline: "article", parameters: [{ name: "a", value: 1 }] })));

    it("shows an Execution that has not begun, and says that there is none", async () => {
      const { code, stdout } = await look("inspect", "one");
      expect(code).to.equal(0);
      expect(stdout).to.contain("Phase       Pending\n").and.to.contain("Parameters  a=1\n");
      const none = await look("inspect", "two");
      expect(none.code).to.equal(1);
      expect(none.stderr).to.match(/there is no Execution "two" in namespace .*; see: kubectl get mexec/);
    });

    it("gives the object as kubectl does", async () => {
      const { stdout } = await look("inspect", "one", "-o", "json");
      expect(JSON.parse(stdout)).to.deep.equal(await namespace.get("mexec/one"));
    });

    it("follows a run to its end, a line for each change, and ends as it did", async () => {
      const following = look("inspect", "one", "--watch");
      const running = (state: string) => [{ ...watched[0], state, attempts: 1 }, watched[1]];
      await report("one", { ...standing("Running", "Running clean"), steps: running("Running") });
      await new Promise((settle) => setTimeout(settle, 2_000));
      await report("one", { steps: running("Succeeded") });
      const error = { code: "Internal", kind: "System", message: "gone" };
      const steps = [...running("Succeeded").slice(0, 1), { ...watched[1], state: "Failed", attempts: 2, error }];
      await report("one", { ...standing("Failed", 'step "count" failed'), steps });
      const { code, stdout } = await following;
      expect(code).to.equal(1);
      expect(stdout)
        .to.match(/^clean: Succeeded$/m)
        .and.to.match(/^count: Failed attempt 2 Internal: gone$/m);
      expect(stdout).to.match(/\none: Failed: step "count" failed\n$/);
    });

    it("follows a run as objects, and ends with 130 for one that was cancelled", async () => {
      const following = look("inspect", "one", "--watch", "-o", "json");
      await report("one", standing("Cancelled", "Cancelled by spec.cancel"));
      const { code, stdout, stderr } = await following;
      expect(code).to.equal(130);
      expect(stderr).to.equal('error: Execution "one" was cancelled: Cancelled by spec.cancel\n');
      const last = JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "") as Execution;
      expect(last.status?.phase).to.equal("Cancelled");
    });

    it("says that what it followed was deleted", async () => {
      const following = look("inspect", "one", "--watch");
      await new Promise((settle) => setTimeout(settle, 2_000));
      await namespace.kubectl("delete", "mexec", "one");
      const { code, stderr } = await following;
      expect(code).to.equal(1);
      expect(stderr).to.contain('Execution "one" was deleted before it had ended');
    });

    it("stops following with a signal", async () => {
      const args = ["inspect", "one", "--watch", "--kubeconfig", cluster.kubeconfig, "-n", namespace.name];
      const { code, stderr } = await millrace(args, { interruptWaiting: "SIGINT" });
      expect({ code, stderr }).to.deep.equal({ code: 130, stderr: "" });
    });
  });

  describe("of what a controller ran", () => {
    let controller: ControllerProcess;
    let plugins: string;

    before(async () => {
      plugins = await mkdtemp(join(tmpdir(), "millrace-inspect-"));
      await writeFile(join(plugins, "shout.mjs"), module);
      const args = ["--lease-namespace", "default", "--plugins-dir", plugins];
      controller = await ControllerProcess.start({ kubeconfig: cluster.kubeconfig, args });
    });
    after(async () => {
      await controller?.[Symbol.asyncDispose]();
      await rm(plugins, { recursive: true, force: true });
    });
    beforeEach(async () => {
      await namespace.apply(
        upper,
        shout,
        pipeline("article", {
          steps: [
            { name: "clean", processor: "shout" },
            { name: "loud", processor: "upper", dependsOn: ["clean"], when: "false" },
          ],
          finally: [{ name: "tell", processor: "upper" }],
          output: "steps.clean.output",
        }),
      );
      await namespace.wait("mpipe/article", "condition=Ready");
      await namespace.apply(execution("one", { pipeline: "article", input: { text: "hello" } }));
    });

    it("shows, draws and follows it", async () => {
      const followed = await look("inspect", "one", "--watch");
      expect(followed.code).to.equal(0);
      expect(followed.stdout).to.match(/^one: Succeeded: 2 steps succeeded, 1 skipped$/m);
      const { stdout } = await look("inspect", "one");
      expect(stdout).to.match(/^Pipeline +article, revision article-[0-9a-f]{16}$/m);
      expect(stdout).to.match(/^- loud +WhenFalse\nfinally\n\+ tell +Succeeded /m);
      const drawn = await look("graph", "--execution", "one");
      expect(drawn.stdout)
        .to.match(/^\+ clean +shout {2}Succeeded$/m)
        .and.to.match(/^- `- loud +upper {2}WhenFalse$/m);
    });

    it("prints its logs, as the steps end, to whoever may read payloads", async () => {
      const server = ["--lease-namespace", "default"];
      await namespace.wait("mexec/one", "condition=Complete");
      const refused = await look("logs", "one", ...server);
      expect(refused.code).to.equal(1);
      expect(refused.stderr).to.contain("executions/payload");
      await namespace.kubectl("create", "role", "get", "--verb=get", "--resource=executions.millrace.dev/payload");
      const account = `--serviceaccount=${namespace.name}:default`;
      await namespace.kubectl("create", "rolebinding", "get", "--role=get", account);
      // A refusal is believed for a second.
      await new Promise((settle) => setTimeout(settle, 1_500));
      expect((await look("logs", "one", ...server)).stdout).to.equal("[clean] got 5 bytes\n");
      await namespace.apply(execution("two", { pipeline: "article", input: { text: "hi" } }));
      const followed = await look("logs", "two", "clean", "-f", ...server);
      expect(followed).to.deep.equal({ code: 0, stdout: "got 2 bytes\n", stderr: "" });
    });
  });
});
