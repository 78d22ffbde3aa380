import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { expect } from "chai";
import { type GuestCapabilities, noCapabilities } from "../../../backends/wasm/abis/guest.ts";
import { errno } from "../../../backends/wasm/abis/wasi/errno.ts";
import { loadGuest, outputText, requestOf } from "./guests.ts";

describe("A module over a C library for WASI", () => {
  const probe = new Uint8Array(readFileSync(join(import.meta.dirname, "../../fixtures/wasm/wasi-probe.wasm")));
  const told = (entrypoint: string, input = "", capabilities: Partial<GuestCapabilities> = {}) =>
    loadGuest(probe, entrypoint)(requestOf(input, { capabilities: { ...noCapabilities, ...capabilities } }));

  it("runs its constructors once", () => {
    expect(outputText(told("constructors"))).to.equal('{"constructed":1}');
  });

  it("prints into the log", () => {
    expect(told("print", "Grüße").log).to.deep.equal(["out: Grüße", "err: Grüße"]);
  });

  it("has clocks of whole milliseconds", () => {
    const { realtime, monotonic, resolution } = JSON.parse(outputText(told("clocks"))) as Record<string, string>;
    expect(resolution).to.deep.equal({ realtime: "1000000", monotonic: "1000000" });
    expect(Number(realtime) / 1e6).to.be.closeTo(Date.now(), 5000);
    expect(BigInt(realtime ?? 1) % 1_000_000n).to.equal(0n);
    expect(Number(monotonic) / 1e6).to.be.within(0, 5000);
  });

  it("has a monotonic clock that goes on from call to call of one instance, and random numbers that begin anew", async () => {
    const clocks = loadGuest(probe, "clocks", { reuse: 2 });
    const monotonic = () => Number((JSON.parse(outputText(clocks(requestOf("")))) as Record<string, string>).monotonic);
    const first = monotonic();
    await setTimeout(5);
    expect(monotonic()).to.be.at.least(first + 4e6);
    const random = loadGuest(probe, "random", { reuse: 2 });
    const capabilities = { ...noCapabilities, randomSeed: "a" };
    const [once, again] = [1, 2].map(() => outputText(random(requestOf("", { capabilities }))));
    expect(once).to.equal(again);
  });

  it("is dropped, not reused, when it has exited", () => {
    const exiting = loadGuest(probe, "exit", { reuse: 9 });
    for (let turn = 0; turn < 3; turn += 1) expect(exiting(requestOf("0")).log).to.deep.equal(["before the exit"]);
  });

  it("has a seeded stream of random numbers", () => {
    const random = (capabilities: Partial<GuestCapabilities>) => outputText(told("random", "", capabilities));
    expect(random({ randomSeed: "a" })).to.equal(random({ randomSeed: "a" }));
    expect(random({})).to.not.equal(random({}));
  });

  it("sees its environment and its one argument", () => {
    const env = { LANG: "de" };
    expect(outputText(told("variable", "LANG", { env }))).to.equal('{"value":"de"}');
    expect(outputText(told("variable", "PATH", { env }))).to.equal('{"value":null}');
    expect(outputText(told("surroundings", "", { env }))).to.equal('{"variables":1,"arguments":1,"first":"module"}');
  });

  it("has no files", () => {
    const files = JSON.parse(outputText(told("files"))) as object;
    expect(files).to.include({
      stdin: 0,
      stdinBytes: 0,
      path_open: errno.notCapable,
      fd_read: errno.badFileDescriptor,
    });
  });

  it("sleeps as long as it asks for", () => {
    const { sleptMs, errno: failed } = JSON.parse(outputText(told("sleep", "30"))) as Record<string, number>;
    expect(failed).to.equal(0);
    expect(sleptMs).to.be.at.least(30);
  });

  it("ends by exiting with 0 as by returning, and crashes by another code; what it printed is logged", () => {
    const ended = told("exit", "0");
    expect(ended.result).to.deep.include({ kind: "Output", payload: new Uint8Array() });
    expect(ended.log).to.deep.equal(["before the exit"]);
    const crashed = told("exit", "3");
    expect(crashed.result).to.include({ kind: "Error", code: "ProcessorCrashed" });
    expect(crashed.result).to.have.property("message").that.includes("exited with 3");
    expect(crashed.log).to.deep.equal(["before the exit"]);
  });

  it("traps by aborting", () => {
    expect(told("abort").result).to.include({ kind: "Error", code: "ProcessorCrashed" });
  });
});
