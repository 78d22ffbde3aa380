import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import type { Kept } from "../../../backends/wasm/abis/abi.ts";
import { extismAbi } from "../../../backends/wasm/abis/extism/extism.ts";
import type { ExtismCall } from "../../../backends/wasm/abis/extism/extism-call.ts";
import type { GuestHttpRequest, GuestHttpResponse, GuestRequest } from "../../../backends/wasm/abis/guest.ts";
import { heldGlobal } from "../../../backends/wasm/abis/host-exports.ts";
import { admit } from "../../../backends/wasm/admission/admit.ts";
import { assemble, constant, constant64, dropped, end, i32, i64 } from "./assembler.ts";
import { loadGuest, openCall, outputText, pageBytes, requestOf, thrownBy } from "./guests.ts";

type HostFunctions = Readonly<Record<string, (...parameters: (bigint | number)[]) => bigint>>;

/** A guest that is the test itself, by what a module would import. */
class Guest {
  readonly log: readonly string[];
  readonly call: ExtismCall;
  readonly host: HostFunctions;
  readonly kept: Kept<ExtismCall>;
  readonly held = new WebAssembly.Global({ value: "i32", mutable: true }, 0);

  constructor(rest: Partial<GuestRequest> = {}, maxMemoryBytes = 64 * pageBytes) {
    const opened = openCall(extismAbi, requestOf("mill", rest));
    this.log = opened.log;
    this.call = opened.call;
    const kept = extismAbi.keep?.(() => this.call, { maxMemoryBytes, fuel: 1 });
    if (kept === undefined) throw new Error("it keeps nothing");
    this.kept = kept;
    this.host = kept.freshImports()["extism:host/env"] as HostFunctions;
    this.begin();
  }

  /** As of an instance that was used before. */
  begin(): void {
    this.kept.begin(this.call, { [heldGlobal]: this.held });
  }

  of(name: string, ...parameters: (bigint | number)[]): bigint {
    const found = this.host[name];
    if (found === undefined) throw new Error(`there is no ${name}`);
    return found(...parameters);
  }

  /** A block with a text in it. */
  put(text: string | Uint8Array): bigint {
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
    const address = this.of("alloc", BigInt(bytes.byteLength));
    for (const [index, byte] of bytes.entries()) this.of("store_u8", address + BigInt(index), byte);
    return address;
  }

  text(address: bigint): string {
    const length = Number(this.of("length", address));
    const bytes = Array.from({ length }, (_, index) => Number(this.of("load_u8", address + BigInt(index))));
    return new TextDecoder().decode(Uint8Array.from(bytes));
  }

  config(name: string): string {
    return this.text(this.of("config_get", this.put(name)));
  }

  run(process: () => number) {
    return extismAbi.invoke(this.call, { process }, "process");
  }
}

function setVariable(guest: Guest, name: string, value: string | Uint8Array): void {
  guest.of("var_set", guest.put(name), guest.put(value));
}

describe("Extism's kernel", () => {
  it("hands out blocks that are apart, and knows the length of each by its beginning alone", () => {
    const guest = new Guest();
    const [first, second] = [guest.put("first"), guest.put("the second")];
    expect([guest.text(first), guest.text(second)]).to.deep.equal(["first", "the second"]);
    for (const none of [0n, first + 1n, 8n, second + 4096n, 1n << 40n, -1n]) {
      expect(guest.of("length", none)).to.equal(0n);
      expect(guest.of("length_unsafe", none)).to.equal(0n);
    }
    expect(guest.of("alloc", 0n)).to.equal(0n);
  });

  it("uses freed blocks again, whatever their order, so that memory does not grow; and frees none twice", () => {
    const guest = new Guest();
    guest.of("alloc", 3n);
    for (let round = 0; round < 20_000; round++) {
      const [one, other] = [guest.of("alloc", BigInt(1 + (round % 3000))), guest.of("alloc", 70n)];
      guest.of("free", one);
      guest.of("free", other);
      guest.of("free", one);
    }
    expect(guest.kept.heldBytes).to.be.at.most(4 * pageBytes);
    expect(guest.of("alloc", 70n)).to.not.equal(guest.of("alloc", 70n));
  });

  it("reads and writes 8 bytes at a time, and traps outside of its memory and of the input", () => {
    const guest = new Guest();
    const block = guest.of("alloc", 8n);
    guest.of("store_u64", block, 0x0102_0304_0506_0708n);
    expect(guest.of("load_u64", block)).to.equal(0x0102_0304_0506_0708n);
    expect(guest.of("load_u8", block)).to.equal(8);
    guest.call.placeInput();
    expect(guest.text(guest.of("input_offset"))).to.equal("mill");
    expect([guest.of("input_length"), guest.of("input_load_u8", 3n)]).to.deep.equal([4n, 0x6c]);
    for (const [name, at] of [
      ["input_load_u8", 4n],
      ["input_load_u64", 0n],
      ["input_load_u8", -1n],
      ["load_u8", 1n << 32n],
      ["load_u64", BigInt(pageBytes - 7)],
    ] as const) {
      expect(() => guest.of(name, at), name).to.throw(WebAssembly.RuntimeError);
    }
  });

  it("has nothing beyond its blocks, where one call could leave something for the next", () => {
    const guest = new Guest();
    const block = guest.of("alloc", 8n);
    for (const at of [BigInt(pageBytes - 8), block + 4096n, -8n]) {
      expect(() => guest.of("store_u8", at, 1), "store_u8").to.throw(WebAssembly.RuntimeError);
      expect(() => guest.of("store_u64", at, 1n), "store_u64").to.throw(WebAssembly.RuntimeError);
      expect(() => guest.of("load_u8", at), "load_u8").to.throw(WebAssembly.RuntimeError);
    }
  });

  it("gives no block where a guest has written over the list of free ones", () => {
    for (const forged of [BigInt(pageBytes - 4), 0xffff_fff0n, 4n]) {
      const guest = new Guest();
      const block = guest.of("alloc", 16n);
      guest.of("free", block);
      guest.of("store_u64", block, forged);
      expect(guest.of("alloc", 16n)).to.equal(block);
      expect(() => guest.of("alloc", 16n), String(forged)).to.throw(WebAssembly.RuntimeError);
    }
  });

  it("is paid for page by page, as often as a call takes it", () => {
    const guest = new Guest();
    const before = guest.call.fuel.used;
    guest.of("alloc", BigInt(100 * 1024));
    expect(guest.call.fuel.used - before).to.equal(4096);
    guest.of("alloc", 1024n);
    expect(guest.call.fuel.used - before).to.equal(4096);
    guest.of("alloc", BigInt(10 * pageBytes));
    expect(guest.call.fuel.used - before).to.equal(11 * 4096);
  });

  it("counts with the module's own memory towards the limit", () => {
    const guest = new Guest({}, 3 * pageBytes);
    guest.of("alloc", BigInt(2 * pageBytes));
    expect(thrownBy(() => guest.of("alloc", BigInt(pageBytes))).code).to.equal("SandboxViolation");
    expect(thrownBy(() => guest.of("alloc", 1n << 50n)).code).to.equal("SandboxViolation");
    expect(thrownBy(() => guest.of("alloc", -1n)).code).to.equal("SandboxViolation");
  });

  it("is empty for the next call, which sees nothing of the one before but variables", () => {
    const guest = new Guest();
    const block = guest.put("secret");
    setVariable(guest, "count", "1");
    guest.begin();
    expect(guest.of("length", block)).to.equal(0n);
    expect(() => guest.of("load_u64", block)).to.throw(WebAssembly.RuntimeError);
    expect([guest.of("alloc", 6n), guest.of("load_u64", block)]).to.deep.equal([block, 0n]);
    expect(guest.text(guest.of("var_get", guest.put("count")))).to.equal("1");
    guest.kept.freshImports();
    guest.begin();
    expect(guest.of("var_get", guest.put("count"))).to.equal(0n);
  });

  it("lets a memory go that has grown, before the next instance", () => {
    const guest = new Guest();
    guest.of("alloc", BigInt(20 * pageBytes));
    guest.kept.freshImports();
    expect(guest.kept.heldBytes).to.equal(pageBytes);
  });

  it("lets a memory go that has grown, when its instance serves no other call", () => {
    const guest = new Guest();
    guest.of("alloc", BigInt(20 * pageBytes));
    guest.kept.clear();
    expect(guest.kept.heldBytes).to.equal(0);
  });
});

describe("The Extism ABI", () => {
  it("tells the call's facts, secrets and the Processor's configuration by their names, and nothing else", () => {
    const capabilities = { allowedHosts: [], env: {}, config: { colour: "red", "millrace.secret.token": "forged" } };
    const guest = new Guest({ capabilities });
    expect(guest.config("millrace.content_type")).to.equal("text/plain");
    expect(guest.config("millrace.options")).to.equal('{"depth":2}');
    expect(guest.config("millrace.metadata")).to.equal('{"up.note":"ripe"}');
    expect(JSON.parse(guest.config("millrace.context"))).to.include({ step: "step", attempt: 3 });
    expect(guest.config("millrace.secret.token")).to.equal("ripe melon");
    expect(guest.config("colour")).to.equal("red");
    for (const none of ["millrace.secret.other", "millrace.other", "toString", "other"]) {
      expect(guest.of("config_get", guest.put(none)), none).to.equal(0n);
    }
  });

  it("takes content type, metadata and output, which may be a part of a block", () => {
    const guest = new Guest();
    const result = guest.run(() => {
      setVariable(guest, "millrace.content_type", "text/x-melon");
      setVariable(guest, "millrace.metadata", '{"a":"1"}');
      guest.of("output_set", guest.put("a ripe melon") + 2n, 4n);
      return 0;
    });
    expect(result).to.deep.include({ kind: "Output", contentType: "text/x-melon", metadata: { a: "1" } });
    expect(outputText({ result, fuel: 0 })).to.equal("ripe");
  });

  it("takes a declared failure, and one without a code as Failed, by a text or by a status alone", () => {
    const failing = (run: (guest: Guest) => number) => {
      const guest = new Guest();
      return guest.run(() => run(guest));
    };
    const declared = '{"code":"Busy","message":"wait","retryable":true}';
    const withError = (guest: Guest, status: number) => {
      guest.of("error_set", guest.put("it broke"));
      return status;
    };
    const declaring = (guest: Guest, error: string) => {
      setVariable(guest, "millrace.error", error);
      return withError(guest, 1);
    };
    expect(failing((guest) => declaring(guest, declared))).to.deep.include({
      error: { code: "Busy", message: "wait", retryable: true },
    });
    const failed = { code: "Failed", message: "it broke", retryable: false };
    expect(failing((guest) => withError(guest, 0))).to.deep.include({ kind: "Failure", error: failed });
    const silent = { ...failed, message: "process returned 7, and said nothing of why" };
    expect(failing(() => 7)).to.deep.include({ kind: "Failure", error: silent });
  });

  it("refuses what is of another form than its name demands, and reserved names that there are not", () => {
    for (const [name, value] of [
      ["millrace.metadata", '{"a":1}'],
      ["millrace.metadata", "[]"],
      ["millrace.error", '{"code":"Busy"}'],
      ["millrace.error", "{"],
      ["millrace.content-type", "text/plain"],
    ] as const) {
      const error = thrownBy(() => setVariable(new Guest(), name, value));
      expect([error.code, error.message.includes(name)], name).to.deep.equal(["ProcessorCrashed", true]);
    }
  });

  it("keeps variables up to their limit, counting what each costs, and gives room back for those removed", () => {
    const guest = new Guest();
    const half = new Uint8Array(500_000);
    setVariable(guest, "one", half);
    setVariable(guest, "one", half);
    setVariable(guest, "two", half);
    expect(thrownBy(() => setVariable(guest, "three", half)).code).to.equal("PayloadTooLarge");
    guest.of("var_set", guest.put("two"), 0n);
    setVariable(guest, "three", half);
  }).timeout(10_000);

  it("logs from level info on, and calls it crashed when there is no block", () => {
    const guest = new Guest();
    for (const level of ["trace", "debug", "info", "warn", "error"]) guest.of(`log_${level}`, guest.put(level));
    expect(guest.log).to.deep.equal(["info", "warn", "error"]);
    expect(guest.of("get_log_level")).to.equal(2);
    expect(thrownBy(() => guest.of("log_info", 12_345n)).code).to.equal("ProcessorCrashed");
  });

  it("calls it crashed when the output lies outside of the memory", () => {
    for (const [address, length] of [
      [1024n, BigInt(pageBytes)],
      [-8n, 16n],
      [1024n, -1n],
    ] as const) {
      const guest = new Guest();
      const process = () => {
        guest.of("output_set", address, length);
        return 0;
      };
      const run = () => guest.run(process);
      expect(thrownBy(run).code).to.equal("ProcessorCrashed");
    }
  });

  it("makes HTTP requests where the host lets it, and gives body, status and headers", () => {
    const guest = new Guest();
    expect(thrownBy(() => guest.of("http_request", guest.put('{"url":"https://a.test"}'), 0n))).to.include({
      code: "SandboxViolation",
    });
    const asked: GuestHttpRequest[] = [];
    const http = (request: GuestHttpRequest): GuestHttpResponse => {
      asked.push(request);
      return { status: 418, headers: { "x-tea": "green" }, body: new TextEncoder().encode("short and stout") };
    };
    Object.assign(guest.call.host, { http });
    expect(guest.of("http_headers")).to.equal(0n);
    const described = '{"url":"https://a.test/pot","method":"post","headers":{"Accept":"*/*"}}';
    expect(guest.text(guest.of("http_request", guest.put(described), guest.put("tea")))).to.equal("short and stout");
    expect(guest.of("http_status_code")).to.equal(418);
    expect(guest.text(guest.of("http_headers"))).to.equal('{"x-tea":"green"}');
    const body = new TextEncoder().encode("tea");
    expect(asked).to.deep.equal([{ url: "https://a.test/pot", method: "POST", headers: { Accept: "*/*" }, body }]);
    expect(thrownBy(() => guest.of("http_request", guest.put('{"url":1}'), 0n)).code).to.equal("ProcessorCrashed");
  });

  /** Imports one function, `(i64) → i64`, as function 0; `process` gives 0 after `code`. */
  const module = (code: readonly number[], more: readonly number[] = [end], initializer = "_initialize") =>
    assemble({
      types: [
        [[i64], [i64]],
        [[], [i32]],
        [[], []],
      ],
      imports: [["extism:host/env", "alloc", [0x00, 0]]],
      functions: [
        [1, [...code, 0x41, 0, end]],
        [2, more],
      ],
      memories: [[0, 1]],
      exports: [
        ["memory", 2, 0],
        ["process", 0, 1],
        [initializer, 0, 2],
      ],
    });

  it("is told by its imports, and runs constructors before the entrypoint", () => {
    for (const initializer of ["_initialize", "__wasm_call_ctors"]) {
      const answer = loadGuest(module([], [0x00, end], initializer))(requestOf("a"));
      expect(answer.result).to.deep.include({ kind: "Error", code: "ProcessorCrashed" });
    }
    expect(admit({ bytes: module([]), maxMemoryBytes: pageBytes, abi: "Auto", entrypoint: "process" }).abi).to.equal(
      "Extism",
    );
  });

  it("refuses host functions of somebody's own, and says what there is instead", () => {
    const bytes = assemble({
      types: [
        [[i64], [i64]],
        [[], [i32]],
      ],
      imports: [
        ["extism:host/env", "alloc", [0x00, 0]],
        ["extism:host/user", "lookup", [0x00, 0]],
      ],
      functions: [[1, [0x41, 0, end]]],
      memories: [[0, 1]],
      exports: [
        ["memory", 2, 0],
        ["process", 0, 2],
      ],
    });
    const error = thrownBy(() => admit({ bytes, maxMemoryBytes: pageBytes, abi: "Auto", entrypoint: "process" }));
    expect(error.code).to.equal("SandboxViolation");
    expect(error.message).to.include("extism:host/user.lookup").and.to.include("http_request");
  });

  it("ends a module that takes blocks without end, with the memory's limit in the message", () => {
    const greedy = [0x03, 0x40, ...constant64(60_000n), 0x10, 0, dropped, 0x0c, 0, end];
    const { result } = loadGuest(module(greedy), "process", { maxMemoryBytes: 16 * pageBytes })(requestOf("a"));
    expect(result).to.deep.include({ kind: "Error", code: "SandboxViolation" });
    expect(result)
      .to.have.property("message")
      .that.includes(`limit of ${16 * pageBytes} bytes`);
  });

  it("lets a module grow by so much less as it holds of Extism's memory", () => {
    const takeTen = [...constant64(BigInt(10 * pageBytes)), 0x10, 0, dropped];
    const growOrTrap = (pages: number) => [...constant(pages), 0x40, 0, ...constant(-1), 0x46, 0x04, 0x40, 0x00, end];
    const resultOf = (...code: number[]) =>
      loadGuest(module(code), "process", { maxMemoryBytes: 16 * pageBytes })(requestOf("")).result;
    expect(resultOf(...takeTen, ...growOrTrap(5))).to.have.property("kind", "Output");
    expect(resultOf(...growOrTrap(5), ...takeTen)).to.have.property("kind", "Output");
    expect(resultOf(...takeTen, ...growOrTrap(6))).to.have.property("code", "SandboxViolation");
    expect(resultOf(...growOrTrap(6), ...takeTen)).to.have.property("code", "SandboxViolation");
  });

  it("ends by proc_exit(0) as by a return, and crashes by any other exit", () => {
    const exit = (code: number) =>
      assemble({
        types: [
          [[i32], []],
          [[], [i32]],
          [[], [i64]],
        ],
        imports: [
          ["wasi_snapshot_preview1", "proc_exit", [0x00, 0]],
          ["extism:host/env", "input_length", [0x00, 2]],
        ],
        functions: [[1, [...constant(code), 0x10, 0, ...constant(1), end]]],
        memories: [[0, 1]],
        exports: [
          ["memory", 2, 0],
          ["process", 0, 2],
        ],
      });
    expect(outputText(loadGuest(exit(0))(requestOf("a")))).to.equal("");
    expect(loadGuest(exit(3))(requestOf("a")).result).to.have.property("code", "ProcessorCrashed");
  });

  it("uses the same fuel in a fresh instance as in the one before", () => {
    const bytes = new Uint8Array(readFileSync(join(import.meta.dirname, "../../fixtures/wasm/reference-extism.wasm")));
    const call = loadGuest(bytes);
    const used = [1, 2, 3].map(() => call(requestOf("melon", { options: { behaviour: "uppercase" } })).fuel);
    expect(new Set(used).size).to.equal(1);
  });
});
