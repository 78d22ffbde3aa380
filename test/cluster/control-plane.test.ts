import { spawn } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { createAuthority, createCertificate } from "./certificates.ts";
import { useCluster, useControlPlane } from "./cluster.ts";
import { KubectlError } from "./kubectl.ts";
import { Part } from "./part.ts";

describe("a part of a test control plane", () => {
  let directory = "";

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "millrace-part-"));
  });

  afterEach(() => rm(directory, { recursive: true }));

  it("is killed when the process that started it is killed outright", async () => {
    const part = new URL("part.ts", import.meta.url).href;
    const options = { program: "/bin/sh", args: ["-c", "echo $$ >pid; exec sleep 600"], directory };
    const code = `const { Part } = await import(${JSON.stringify(part)});
      new Part(${JSON.stringify({ ...options, logFile: join(directory, "log") })});
      setInterval(() => console.log("up"), 20);`;
    const starter = spawn(process.execPath, ["--input-type=module", "--eval", code], { stdio: ["ignore", "pipe", 2] });
    const pidFile = join(directory, "pid");
    const pid = async () => Number(await readFile(pidFile, "utf8").catch(() => "0"));
    for await (const _ of starter.stdout ?? []) if ((await pid()) > 0) break;
    expect(isAlive(await pid())).to.equal(true);
    starter.kill("SIGKILL");
    while (isAlive(await pid())) await delay(10);
  });

  it("ends by its signal, and is then seen to be gone", async () => {
    const logFile = join(directory, "log");
    const part = new Part({ program: "/bin/sleep", args: ["600"], directory, logFile });
    expect(part.running).to.equal(true);
    await part.stop("SIGTERM");
    expect(part.running).to.equal(false);
    await part.stop("SIGTERM");
  });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe("the certificates of a test control plane", () => {
  it("are signed by their authority and say who they are for", () => {
    const authority = createAuthority("an-authority");
    const { certificate } = createCertificate(authority, {
      commonName: "somebody",
      organizations: ["some:group"],
      usage: "Server",
      hosts: ["localhost", "127.0.0.1"],
    });
    const parsed = new X509Certificate(certificate);
    expect(parsed.verify(new X509Certificate(authority.certificate).publicKey)).to.equal(true);
    expect(parsed.verify(new X509Certificate(createAuthority("another").certificate).publicKey)).to.equal(false);
    expect(parsed.subject).to.equal("O=some:group\nCN=somebody");
    expect(parsed.checkHost("localhost")).to.equal("localhost");
    expect(parsed.checkIP("127.0.0.1")).to.equal("127.0.0.1");
    expect(parsed.checkIP("127.0.0.2")).to.equal(undefined);
  });
});

describe("the shared cluster", () => {
  const cluster = useCluster();

  it("serves the three kinds in a namespace of the test's own", async () => {
    const namespace = await cluster.createNamespace();
    const listed = await cluster.kubectl(["get", "millrace", "--namespace", namespace, "--output=name"]);
    expect(listed).to.equal("");
  });

  it("tells what kubectl said when it fails", async () => {
    const failure = await cluster.kubectl(["get", "pipelines", "nowhere"]).catch((error: unknown) => error);
    expect(failure).to.be.instanceOf(KubectlError);
    expect((failure as KubectlError).exitCode).to.equal(1);
    expect((failure as KubectlError).stderr).to.include("NotFound");
  });
});

describe("a control plane of a suite's own", function () {
  this.timeout(120_000);
  const own = useControlPlane();

  it("keeps its data while the API server is stopped and started", async () => {
    const { plane } = own;
    await plane.kubectl(["create", "namespace", "kept"]);
    await plane.stopPart("kube-apiserver", "SIGKILL");
    const refused = await plane.kubectl(["get", "--raw", "/readyz"]).catch((error: unknown) => error);
    expect(refused).to.be.instanceOf(KubectlError);
    await plane.startPart("kube-apiserver");
    expect(await plane.kubectl(["get", "namespace", "kept", "--output=name"])).to.equal("namespace/kept\n");
  });

  it("gives another user no more than the role they are bound to", async () => {
    const kubeconfig = await own.plane.createKubeconfig({ name: "guest", groups: [] });
    const answer = await own.plane
      .kubectl(["--kubeconfig", kubeconfig, "get", "namespaces"])
      .catch((error: unknown) => error);
    expect((answer as KubectlError).stderr).to.include('User "guest" cannot list resource "namespaces"');
  });

  it("leaves neither folder nor process when it is closed", async () => {
    const { plane } = own;
    await plane[Symbol.asyncDispose]();
    expect(existsSync(plane.directory)).to.equal(false);
  });
});
