import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { expect } from "chai";
import { runCli } from "../../../../controller/cli/index.ts";
import { systemPorts } from "../../../../engine/clock.ts";
import { constant, directModule, end, i32, result, unreachable, vector } from "../../../backends/wasm/assembler.ts";
import { type MillraceOptions, millrace } from "../../../support/millrace.ts";

const fixtures = join(import.meta.dirname, "../../../fixtures/wasm");
const words = join(fixtures, "templates/c.wasm");

describe("millrace wasm", function () {
  this.timeout(30_000);
  let cwd: string;

  before(() => {
    cwd = mkdtempSync(join(tmpdir(), "millrace-wasm-"));
  });
  after(() => rmSync(cwd, { recursive: true, force: true }));

  const run = (args: readonly string[], options: MillraceOptions = {}) =>
    millrace(["wasm", ...args], { cwd, ...options });

  function written(name: string, bytes: Uint8Array): string {
    writeFileSync(join(cwd, name), bytes);
    return name;
  }

  it("teaches what there is", async () => {
    const { code, stdout } = await run(["--help"]);
    expect(code).to.equal(0);
    for (const command of ["new", "check", "call"]) expect(stdout).to.include(`millrace wasm ${command}`);
  });

  describe("check", () => {
    it("says what a module is, and what a call of it takes", async () => {
      const { code, stdout } = await run(["check", words, "--input", "one two three", "-o", "json"]);
      expect(code).to.equal(0);
      const found = JSON.parse(stdout);
      expect(found).to.include({
        abi: "Direct",
        entrypoint: "process",
        wasi: false,
        bytes: readFileSync(words).length,
      });
      expect(found.digest).to.match(/^sha256:[0-9a-f]{64}$/);
      expect(found.exports).to.include.members(["memory", "millrace_alloc", "process"]);
      expect(found.meteredBytes).to.be.greaterThan(found.bytes);
      expect(found.sample).to.deep.include({ inputBytes: 13, outcome: "21 bytes of application/json" });
      expect(found.sample.fuel).to.be.within(1000, 100_000);
      expect(found.refusals).to.deep.equal([]);
    });

    it("takes the same fuel each time", async () => {
      const fuels = await Promise.all(
        [1, 2].map(
          async () => JSON.parse((await run(["check", words, "--input", "x", "-o", "json"])).stdout).sample.fuel,
        ),
      );
      expect(fuels[0]).to.equal(fuels[1]);
    });

    it("says it in words, and of a module over WASI that it is one", async () => {
      const { code, stdout } = await run(["check", join(fixtures, "wasi-probe.wasm"), "--entrypoint", "print"]);
      expect(code, stdout).to.equal(0);
      expect(stdout).to.match(/^ABI +Direct, over WASI preview 1$/m);
      expect(stdout).to.match(/^Features +.*$/m);
      expect(stdout).to.include("It would be admitted.");
    });

    it("names each compiler feature that a module uses", async () => {
      const module = directModule({
        process: [0x20, 0, 0xc0, 0x1a, 0x20, 0, 0xad, end],
        globals: [
          [i32, 0, ...constant(1), end],
          [i32, 1, ...constant(1), ...constant(2), 0x6a, end],
        ],
        exports: [
          ["memory", 2, 0],
          ["millrace_alloc", 0, 0],
          ["process", 0, 1],
          ["counter", 3, 1],
        ],
      });
      const { stdout } = await run(["check", written("features.wasm", module), "-o", "json"]);
      expect(JSON.parse(stdout).features).to.deep.equal(["extended-const", "mutable-globals", "sign-ext"]);
    });

    it("says how far a module's memory may grow", async () => {
      const growing = async (name: string, limits: readonly number[], ...flags: readonly string[]) => {
        const { stdout } = await run(["check", written(name, directModule({ memories: [limits] })), ...flags]);
        return /^Memory +(.*)$/m.exec(stdout)?.[1];
      };
      expect(await growing("open.wasm", [0, 1], "--memory", "1Mi")).to.equal(
        "64.0 KiB from the start, at most 1.0 MiB, as --memory allows",
      );
      expect(await growing("closed.wasm", [1, 1, 2])).to.equal(
        "64.0 KiB from the start, at most 128.0 KiB, its own maximum",
      );
    });

    it("lists all that would be refused, each with how to mend it, and exits with 1", async () => {
      const module = directModule({
        imports: [
          ["env", "system", [0x00, 0]],
          ["env", "abort", [0x00, 0]],
        ],
        memories: [[0, 0x80, 0x10]],
      });
      const { code, stdout } = await run(["check", written("refused.wasm", module), "-o", "json"]);
      expect(code).to.equal(1);
      const messages: string[] = JSON.parse(stdout).refusals.map(({ message }: { message: string }) => message);
      expect(messages).to.have.length(2);
      expect(messages[0]).to.include("the functions env.system, env.abort");
      expect(messages[1]).to.include("spec.wasm.limits.memory");
    });

    it("refuses what never gets ready for a call", async () => {
      const module = directModule({ alloc: [unreachable, end] });
      const { code, stdout } = await run(["check", written("never.wasm", module)]);
      expect(code).to.equal(1);
      expect(stdout).to.include("no instance of it gets ready for a call");
    });

    it("admits a module whose call fails: it may want another input", async () => {
      const module = directModule({ process: [unreachable, end] });
      const { code, stdout } = await run(["check", written("traps.wasm", module)]);
      expect(code).to.equal(0);
      expect(stdout).to.match(/^Sample .*ProcessorCrashed/m);
    });

    it("says of a text that it is no module", async () => {
      const { code, stdout } = await run(["check", written("words.c", Buffer.from("int main() {}"))]);
      expect(code).to.equal(1);
      expect(stdout).to.include("This is not a WASM module");
    });

    it("says that a file is not there", async () => {
      const { code, stderr } = await run(["check", "nowhere.wasm"]);
      expect(code).to.equal(2);
      expect(stderr).to.equal("error: nowhere.wasm does not exist\n");
      expect(await run(["check", "/dev/zero"])).to.include({
        code: 2,
        stderr: "error: /dev/zero is no regular file\n",
      });
    });
  });

  describe("call", () => {
    it("gives the output as it is, and the rest beside it", async () => {
      const { code, stdout, stderr } = await run(["call", words, "--input", "-"], { stdin: "one two\nthree\n" });
      expect(code).to.equal(0);
      expect(stdout).to.equal('{"lines":2,"words":3}');
      expect(stderr)
        .to.include("counted 3 words")
        .and.include("metadata words: 3")
        .and.match(/\d+ units of fuel/);
    });

    it("gives everything in one object", async () => {
      const { code, stdout } = await run(["call", words, "--input", "a b", "-o", "json"]);
      expect(code).to.equal(0);
      const { ok, output, metadata, log } = JSON.parse(stdout);
      expect(ok).to.equal(true);
      expect(output).to.deep.equal({ text: '{"lines":0,"words":2}', contentType: "application/json" });
      expect(metadata).to.deep.equal({ words: "2" });
      expect(log[0]).to.include("counted 2 words");
    });

    it("says how a module failed, and exits with 1", async () => {
      const { code, stderr } = await run(["call", words, "--input", "a", "--options", '{"minimum": 3}']);
      expect(code).to.equal(1);
      expect(stderr).to.include("error: TooShort: the text has 1 words, fewer than 3");
    });

    it("lets no module move the cursor of who looks", async () => {
      const text = [0, ...constant(0), end, ...vector([...Buffer.from("\u001b[2J")].map((byte) => [byte]))];
      const told = [...constant(0), ...constant(4)];
      const module = directModule({
        imports: [
          ["millrace", "set_error", [0x00, 6]],
          ["millrace", "set_metadata", [0x00, 5]],
        ],
        process: [...told, ...told, 0x10, 1, ...told, ...told, ...constant(0), 0x10, 0, ...result(0, 0)],
        data: [text],
      });
      const { code, stderr } = await run(["call", written("escapes.wasm", module)]);
      expect(code).to.equal(1);
      expect(stderr).to.include("error: \\u001b[2J: \\u001b[2J\n").and.include("metadata \\u001b[2J: \\u001b[2J\n");
    });

    it("ends a module at its fuel and at its time", async () => {
      const spin = written("spin.wasm", directModule({ process: [0x03, 0x40, 0x0c, 0, end, unreachable, end] }));
      const fuelled = await run(["call", spin, "--fuel", "1000000"]);
      expect(fuelled.code).to.equal(1);
      expect(fuelled.stderr).to.include("SandboxViolation").and.include("fuel limit of 1000000");
      const timed = await run(["call", spin, "--fuel", "100000000000000", "--timeout", "200ms"]);
      expect(timed.code).to.equal(1);
      expect(timed.stderr).to.include("DeadlineExceeded");
    });

    it("ends as cancelled when it is interrupted, and says nothing of the module", async () => {
      for (const command of ["call", "check"]) {
        const stdout = new PassThrough();
        const context = {
          env: {},
          cwd,
          version: "0.0.0",
          stdin: new PassThrough(),
          stdout,
          stderr: new PassThrough(),
          ports: systemPorts,
          interrupted: AbortSignal.abort(),
          takeSecondInterrupt: () => AbortSignal.abort(),
        };
        expect(await runCli(["wasm", command, words, "--input", "x"], context), command).to.equal(130);
        expect(stdout.read()).to.equal(null);
      }
    });

    it("gives a module what its Processor would", async () => {
      const probe = join(fixtures, "wasi-probe.wasm");
      const args = ["call", probe, "--entrypoint", "variable", "--input", "LEVEL", "--env", "LEVEL=info"];
      expect((await run(args)).stdout).to.include("info");
      const seeded = ["call", probe, "--entrypoint", "random", "--seed", "melon"];
      expect((await run(seeded)).stdout).to.equal((await run(seeded)).stdout);
    });

    it("runs a module in its own thread, where it is told to", async () => {
      const module = written("grow.wasm", directModule({ process: [...constant(1), 0x40, 0, 0xad, end] }));
      const { code } = await run(["call", module, "--isolation", "Inline", "--fuel", "5000000", "--memory", "16Mi"]);
      expect(code).to.equal(0);
      const refused = await run(["call", module, "--isolation", "Inline"]);
      expect(refused.code).to.equal(1);
      expect(refused.stderr).to.include("5000000");
    });

    for (const [flag, value] of [
      ["--options", "[1]"],
      ["--fuel", "0"],
      ["--timeout", "soon"],
      ["--memory", "much"],
      ["--memory", "5Gi"],
      ["--secret", "s3cr3t"],
      ["--allow-addresses", "10.0.0.0/64"],
      ["--allow-host", "https://api.example.com"],
    ] as const) {
      it(`says what ${flag} ${value} should be`, async () => {
        const { code, stderr } = await run(["call", words, flag, value]);
        expect(code).to.equal(2);
        expect(stderr).to.include(flag).and.not.include("s3cr3t");
      });
    }
  });

  it("says what is no file to take a module from", async () => {
    for (const command of ["check", "call"]) {
      const input = await run([command, "-"]);
      expect(input).to.include({
        code: 2,
        stderr: "error: - is standard input, and a module is a file: give its path\n",
      });
      for (const file of [".", "/dev/zero"]) {
        const { code, stderr } = await run([command, file]);
        expect([code, stderr]).to.deep.equal([2, `error: ${file} is no regular file\n`]);
      }
      expect((await run([command, "--help"])).stdout).to.include("2: wrong usage, or a file that cannot be read.");
    }
  });

  describe("new", () => {
    for (const [lang, source] of [
      ["assemblyscript", "assembly/words.ts"],
      ["c", "words.c"],
      ["go", "main.go"],
      ["rust", "src/lib.rs"],
      ["zig", "words.zig"],
    ] as const) {
      it(`writes a project in ${lang}, and says how it is built`, async () => {
        const { code, stdout } = await run(["new", `new-${lang}`, "--lang", lang]);
        expect(code).to.equal(0);
        expect(stdout).to.include("millrace wasm check words.wasm");
        const template = join(import.meta.dirname, "../../../../templates/wasm", lang, source);
        expect(readFileSync(join(cwd, `new-${lang}`, source), "utf8")).to.equal(readFileSync(template, "utf8"));
        expect(readFileSync(join(cwd, `new-${lang}`, ".gitignore"), "utf8")).to.include("wasm");
      });
    }

    it("says that it cannot write there", async () => {
      const file = written("taken", Buffer.from("x"));
      const { code, stderr } = await run(["new", `${file}/words`, "--lang", "c"]);
      expect(code).to.equal(2);
      expect(stderr).to.equal("error: taken/words cannot be written to (ENOTDIR)\n");
    });

    it("says so where the system makes no folder", async () => {
      const { code, stderr } = await run(["new", "/proc/words", "--lang", "c"]);
      expect(code).to.equal(2);
      expect(stderr).to.match(/^error: \/proc\/words cannot be written to \(E\w+\)\n$/);
    });

    it("writes over nothing", async () => {
      const { code, stderr } = await run(["new", ".", "--lang", "c"]);
      expect(code).to.equal(2);
      expect(stderr).to.include("not empty");
    });
  });
});
