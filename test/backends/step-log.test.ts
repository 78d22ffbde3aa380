import { expect } from "chai";
import { noSecrets, Secrets } from "../../backends/secrets.ts";
import { maxLogBytes, StepLog } from "../../backends/step-log.ts";
import { VirtualTime } from "../support/virtual-time.ts";

const time = new VirtualTime(1, Date.UTC(2026, 10, 28, 1, 2, 3, 456));
const stamp = "2026-11-28T01:02:03.456Z ";

function logged(act: (log: StepLog) => void, secrets = noSecrets): string[] {
  const lines: string[] = [];
  const log = new StepLog((line) => lines.push(line), time.clock, secrets);
  act(log);
  log.end();
  return lines.map((line) => {
    expect(line.startsWith(stamp)).to.equal(true);
    return line.slice(stamp.length);
  });
}

const bytesOf = (lines: readonly string[]) =>
  lines.reduce((sum, line) => sum + stamp.length + Buffer.byteLength(line) + 1, 0);

describe("The log of an attempt", () => {
  it("has a line for each line of a text, whatever ends it, and empty ones", () => {
    expect(logged(({ add }) => add("a\nb\r\nc\rd\n\n"))).to.deep.equal(["a", "b", "c", "d", ""]);
  });

  it("has no control characters but the tab", () => {
    expect(logged(({ add }) => add("a\tb\u001b[31mred\u0000\u007f\u009b"))).to.deep.equal(["a\tb[31mred"]);
  });

  it("has no secrets, also where one goes over lines or comes together when control characters are dropped", () => {
    const secrets = new Secrets({ a: "first\nsecond", b: "k3y" });
    const lines = logged(({ add }) => {
      add("x first\nsecond y");
      add("k\u00003y");
    }, secrets);
    expect(lines).to.deep.equal(["x *** y", "***"]);
  });

  it("ends at 64 KiB with what fits, and a mark that says how much was cut", () => {
    const lines = logged(({ add }) => {
      add("x".repeat(maxLogBytes - 100));
      add("ü".repeat(1000));
      add("later");
    });
    const mark = /^\[log cut: (\d+) more bytes\]$/.exec(lines.at(-1) ?? "");
    expect(lines).to.have.length(3);
    expect(bytesOf(lines.slice(0, -1))).to.be.within(maxLogBytes - 1, maxLogBytes);
    expect(Number(mark?.[1])).to.equal(2000 - Buffer.byteLength(lines[1] ?? "") + "later".length);
  });

  it("bounds many empty lines too", () => {
    const lines = logged(({ add }) => add("\n".repeat(1_000_000)));
    expect(bytesOf(lines.slice(0, -1))).to.be.at.most(maxLogBytes);
    expect(lines.at(-1)).to.match(/log cut/);
  });

  it("shows nothing of a secret that a cut goes through", () => {
    const secret = "0123456789".repeat(10);
    const secrets = new Secrets({ secret });
    const lines = logged(({ add }) => add(`a ${secret.slice(0, 60)}`, 40), secrets);
    expect(lines.join()).not.to.include("012");
    const long = logged(({ add }) => add(`${secret.repeat(2_621)}${secret}`), secrets);
    expect(long.join()).not.to.include("012");
  });

  it("takes nothing after its end", () => {
    const lines: string[] = [];
    const log = new StepLog((line) => lines.push(line), time.clock, noSecrets);
    log.end();
    log.add("late");
    log.end();
    expect(lines).to.deep.equal([]);
  });
});
