// Runs metered modules and prints how each ended and where its meter stood: plain JavaScript, for any Node and any of V8's tiers.
// Arguments: a JSON file of cases {module (base64), parameters, meter, rounds}.
import { readFileSync } from "node:fs";

const outcomes = JSON.parse(readFileSync(process.argv[2], "utf8")).map(({ module, parameters, meter, rounds }) => {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(module, "base64")));
  let outcome;
  for (let round = 0; round < rounds; round++) {
    instance.exports["millrace:fuel"].value = BigInt(meter);
    let ended;
    try {
      ended = instance.exports.run(...parameters) ?? null;
    } catch (thrown) {
      ended = thrown.constructor.name;
    }
    outcome = [ended, String(instance.exports["millrace:fuel"].value)];
  }
  return outcome;
});
process.stdout.write(JSON.stringify(outcomes));
