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
