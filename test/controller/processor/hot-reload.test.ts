import { expect } from "chai";
import type { Processor } from "../../../controller/api/types.ts";
import { type Backends, createBackends } from "../../../controller/processor/load.ts";
import { systemPorts } from "../../../engine/clock.ts";
import { constant, directModule, end, result } from "../../backends/wasm/assembler.ts";
import { textOf } from "../../support/pipelines.ts";
import { apiSpec, attempt, wasmSpec } from "./builders.ts";
import { key, never, request, Stage } from "./stage.ts";

const total = 10_000;
const switches = 50;
const callers = 32;

/** A module that gives its own number, whatever it is given. */
function numbered(version: number): Uint8Array {
  const text = new TextEncoder().encode(String(version).padStart(4, "0"));
  return directModule({
    process: result(64, text.byteLength),
    data: [[0, ...constant(64), end, text.byteLength, ...text]],
  });
}

/** A Processor whose module is in a ConfigMap, with the real backend behind it. */
class Reloading implements AsyncDisposable {
  readonly stage = new Stage(systemPorts);
  readonly #backends: Backends;
  #content: Uint8Array = numbered(0);
  #edits = 0;

  constructor() {
    this.#backends = createBackends({
      ports: systemPorts,
      version: "0.0.0",
      readConfigMapKey: async () => this.#content,
      readSecret: () => Promise.reject(new Error("no Secret is named")),
    });
    this.stage.load = (spec) => this.#backends.load(spec, never);
    this.stage.resolve = (spec) => this.#backends.resolve(spec, never);
    this.stage.put(1, apiSpec({ wasm: wasmSpec({ source: { configMapKeyRef: { name: "m", key: "k" } } }) }));
  }

  async edit(content: Uint8Array): Promise<void> {
    this.#content = content;
    this.stage.source = { version: `uid/${++this.#edits}`, watched: true };
    await this.stage.reconcile();
  }

  /** The number that a call of what serves gives. */
  async call(): Promise<number> {
    const response = await this.stage.serving.invoke(attempt, request, never);
    if (!response.ok) throw new Error(response.error.message);
    return Number(await textOf(response.payload));
  }

  get messages(): Readonly<Record<string, string>> {
    const { conditions = [] } = (this.stage.store.get(key) as Processor).status ?? {};
    return Object.fromEntries(conditions.map(({ type, message }) => [type, message]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stage.versions[Symbol.asyncDispose]();
    await this.stage.secrets[Symbol.asyncDispose]();
    await this.#backends[Symbol.asyncDispose]();
  }
}

describe("a WASM module that is edited under load", function () {
  this.timeout(120_000);

  it("fails none of ten thousand calls in fifty switches, mixes none, and goes forward only", async () => {
    await using reloading = new Reloading();
    await reloading.edit(numbered(0));
    /** By the order in which the calls started. */
    const given: number[] = [];
    let started = 0;
    const keepCalling = async (): Promise<void> => {
      while (started < total) {
        const place = started++;
        given[place] = await reloading.call();
      }
    };
    const edit = async (): Promise<void> => {
      for (let version = 1; version <= switches; version++) {
        while (started < (version * total) / (switches + 1)) await reloading.call();
        // Each fifth edit is a mistake first: what serves goes on.
        if (version % 5 === 0) await reloading.edit(Buffer.from(`mistake ${version}`));
        await reloading.edit(numbered(version));
      }
    };
    await Promise.all([edit(), ...Array.from({ length: callers }, keepCalling)]);
    expect(given).to.have.length(total);
    expect(given.findIndex((version, index) => version < (given[index - 1] ?? 0))).to.equal(-1);
    expect(new Set(given).size).to.equal(switches + 1);
  });

  it("never serves a bad one, says why, and is back at once when it is rolled back", async () => {
    await using reloading = new Reloading();
    const { stage } = reloading;
    await reloading.edit(numbered(1));
    await reloading.edit(numbered(2));
    for (const bad of [
      Buffer.from("no module"),
      directModule({ process: [0x41, 0, 0x0b] }),
      directModule({ start: 9 }),
    ]) {
      await reloading.edit(bad);
      expect(await reloading.call()).to.equal(2);
      expect([stage.condition("Ready"), stage.condition("Stalled")]).to.deep.equal([
        "True/PreviousVersionServes",
        "True/ModuleRefused",
      ]);
      expect(reloading.messages.Ready).to.match(/^The module sha256:.* serves on, as the new one is refused: /);
    }
    await reloading.edit(numbered(1));
    expect(await reloading.call()).to.equal(1);
    expect([stage.condition("Ready"), stage.condition("Stalled")]).to.deep.equal(["True/Loaded", "absent"]);
  });
});
