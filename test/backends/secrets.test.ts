import { expect } from "chai";
import fc from "fast-check";
import { noSecrets, Secrets } from "../../backends/secrets.ts";

function masked(text: string, ...values: readonly string[]): string {
  return new Secrets(Object.fromEntries(values.map((value, index) => [`s${index}`, value]))).masked(text);
}

describe("A secret in a text", () => {
  it("is masked wherever it stands", () => {
    expect(masked("k3y, a k3y and k3y", "k3y")).to.equal("***, a *** and ***");
  });

  it("is masked with what overlaps it, and beside another", () => {
    expect(masked("xabcdx", "abc", "bcd")).to.equal("x***x");
    expect(masked("abcd", "ab", "cd")).to.equal("******");
  });

  it("is masked where it overlaps itself, and no further", () => {
    expect(masked("xaaaaay", "aa")).to.equal("x***y");
    expect(masked("xababababay", "abab")).to.equal("x***ay");
  });

  it("is masked as if each occurrence was looked for by itself", () => {
    const word = (maxLength: number) => fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength });
    fc.assert(
      fc.property(fc.array(word(6), { minLength: 1, maxLength: 3 }), word(60), (values, text) => {
        const isHidden = Array.from(text, () => false);
        for (const value of values)
          for (let at = text.indexOf(value); at >= 0; at = text.indexOf(value, at + 1))
            isHidden.fill(true, at, at + value.length);
        const shown = Array.from(text)
          .filter((_, index) => !isHidden[index])
          .join("");
        expect(masked(text, ...values).replaceAll("***", "")).to.equal(shown);
      }),
    );
  });

  it("takes no time and memory to speak of where a text consists of hundreds of secrets that overlap", () => {
    const values = Array.from({ length: 8 }, (_, secret) =>
      Array.from({ length: 60 }, (_, line) => "a".repeat(8 + secret * 60 + line)).join("\n"),
    );
    const text = "a".repeat(256 * 1024);
    const before = process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed;
    expect(masked(text, ...values)).to.equal("***");
    expect(process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed - before).to.be.lessThan(100e6);
  });

  it("is masked without the white space around it, as its file often has", () => {
    expect(masked("Bearer k3y!", "k3y\n")).to.equal("Bearer ***!");
  });

  it("is masked line by line, where its lines are long enough to be told from other words", () => {
    expect(masked("at MIIEvQIBADAN in the", "-----BEGIN KEY-----\nMIIEvQIBADAN\nend\n")).to.equal("at *** in the");
    expect(masked("the end", "-----BEGIN KEY-----\nMIIEvQIBADAN\nend\n")).to.equal("the end");
  });

  it("is masked as JSON, percent-encoding and Base64 write it", () => {
    const secret = 'a "quoted" größe';
    const forms = [JSON.stringify({ secret }), encodeURIComponent(secret), Buffer.from(secret).toString("base64")];
    expect(masked(forms.join(" "), secret)).to.equal('{"secret":"***"} *** ***');
  });

  it("is masked whatever it is, also where control characters were taken out of it", () => {
    expect(masked("an ab", "a\u0000b")).to.equal("an ***");
  });

  it("is masked in a text that is too long to be looked through, which is cut, within tens of milliseconds", () => {
    const lines = (seed: number) => Array.from({ length: 3000 }, (_, line) => `${seed} line ${line}`).join("\n");
    const secrets = new Secrets(
      Object.fromEntries(Array.from({ length: 32 }, (_, index) => [`s${index}`, lines(index)])),
    );
    const startedMs = performance.now();
    const text = secrets.masked(`${"x".repeat(256 * 1024 - 1500)}${lines(3)}`.repeat(20));
    expect(performance.now() - startedMs).to.be.lessThan(1000);
    expect(text.length).to.be.lessThan(256 * 1024);
    expect(text).to.match(/x…$/);
  });

  it("does nothing to a text where there are none, or where they are empty", () => {
    expect(noSecrets.masked("text")).to.equal("text");
    expect(masked("text", "", " ")).to.equal("text");
  });

  it("never stays in it, whatever the text and the secrets", () => {
    const secret = fc.string({ minLength: 1, maxLength: 6 }).filter((value) => !"***".includes(value));
    fc.assert(
      fc.property(fc.array(secret, { minLength: 1 }), fc.array(fc.string()), (values, words) => {
        const text = words.flatMap((word, index) => [word, values[index % values.length] ?? ""]).join("");
        const left = masked(text, ...values).split("***");
        for (const part of left) for (const value of values) expect(part).not.to.include(value);
      }),
    );
  });
});
