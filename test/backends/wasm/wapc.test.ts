import { expect } from "chai";
import { type GuestRequest, type GuestResult, noCapabilities } from "../../../backends/wasm/abis/guest.ts";
import { wapcAbi } from "../../../backends/wasm/abis/wapc/wapc.ts";
import { admit } from "../../../backends/wasm/admission/admit.ts";
import { assemble, constant, end, i32 } from "./assembler.ts";
import { loadGuest, type OpenCall, openCall, outputText, pageBytes, requestOf, thrownBy } from "./guests.ts";

type Functions = Record<string, (...parameters: number[]) => number | undefined>;

interface Guest extends OpenCall<ReturnType<typeof wapcAbi.begin>> {
  readonly host: Functions;
  /** A host call with texts; what it answers, or the error. */
  ask(operation: string, payload?: string, binding?: string, namespace?: string): { text?: string; error?: string };
}

function opened(rest: Partial<GuestRequest> = {}): Guest {
  const config = { mode: "fast" };
  const guest = openCall(wapcAbi, requestOf("mill", { capabilities: { ...noCapabilities, config }, ...rest }));
  const host = wapcAbi.imports(() => guest.call).wapc as Functions;
  const fetched = (kind: "response" | "error") => {
    const length = host[`__host_${kind}_len`]?.() ?? 0;
    host[`__host_${kind}`]?.(1000);
    return guest.textAt(1000, length);
  };
  return {
    ...guest,
    host,
    ask(operation, payload = "", binding = "millrace", namespace = "call") {
      const texts = [binding, namespace, operation, payload];
      const parameters = texts.flatMap((text, index) => guest.put(2000 + index * 1000, text));
      return host.__host_call?.(...parameters) === 1 ? { text: fetched("response") } : { error: fetched("error") };
    },
  };
}

/** Runs a guest that is JavaScript, and says what came of it. */
function ran(run: (guest: Guest) => number, rest: Partial<GuestRequest> = {}): GuestResult {
  const guest = opened(rest);
  return wapcAbi.invoke(guest.call, { __guest_call: () => run(guest) }, "grind");
}

function respond(guest: Guest, text: string): void {
  guest.host.__guest_response?.(...guest.put(100, text));
}

function complain(guest: Guest, text: string): void {
  guest.host.__guest_error?.(...guest.put(100, text));
}

const failure = (code: string, message: string, retryable = false) => ({
  kind: "Failure",
  error: { code, message, retryable },
  metadata: {},
});

const wapcTypes: [number[], number[]][] = [
  [[i32, i32], [i32]],
  [[i32, i32], []],
  [[], []],
];

/** A guest that answers with `log`, to which its initializers add their letter. */
function initialized(names: readonly string[]): Uint8Array {
  // The length of what is there lies at 0, the letters from 16 on.
  const length = [...constant(0), 0x28, 2, 0];
  const addOne = [...constant(0), ...length, ...constant(1), 0x6a, 0x36, 2, 0];
  const letter = (character: string) => [...length, ...constant(character.charCodeAt(0)), 0x3a, 0, 16, ...addOne, end];
  const answer = [...constant(16), ...length, 0x10, 0, ...constant(1), end];
  return assemble({
    types: wapcTypes,
    imports: [["wapc", "__guest_response", [0x00, 1]]],
    functions: [[0, answer], ...names.map((name) => [2, letter(name.replace("_", "").slice(0, 1))] as const)],
    memories: [[0, 1]],
    exports: [["memory", 2, 0], ["__guest_call", 0, 1], ...names.map((name, index) => [name, 0, index + 2] as const)],
  });
}

describe("The WaPC ABI", () => {
  it("is found by its export, and asks for no entrypoint but calls an operation of that name", () => {
    const answer = loadGuest(initialized([]), "no such export")(requestOf(""));
    expect(outputText(answer)).to.equal("");
    expect(admit({ bytes: initialized([]), maxMemoryBytes: pageBytes, abi: "Auto", entrypoint: "x" }).abi).to.equal(
      "WaPC",
    );
  });

  it("calls _start, wapc_init and _initialize once, in this order", () => {
    const answer = loadGuest(initialized(["_initialize", "wapc_init", "_start"]))(requestOf(""));
    expect(outputText(answer)).to.equal("swi");
  });

  it("gives the operation and the payload, and takes the response", () => {
    const result = ran((guest) => {
      guest.host.__guest_request?.(10, 50);
      respond(guest, `${guest.textAt(10, 5)}: ${guest.textAt(50, 4)}`);
      return 1;
    });
    expect(result).to.deep.equal({
      kind: "Output",
      payload: new TextEncoder().encode("grind: mill"),
      contentType: "application/octet-stream",
      metadata: {},
    });
  });

  it("takes a response that the guest overwrites next, and no response for an empty one", () => {
    const overwritten = ran((guest) => {
      respond(guest, "kept");
      guest.memory.fill(0);
      return 1;
    });
    expect(overwritten).to.have.property("payload").that.deep.equals(new TextEncoder().encode("kept"));
    expect(ran(() => 1))
      .to.include({ kind: "Output" })
      .and.have.property("payload")
      .that.has.length(0);
  });

  it("takes an error without set_error for a failure of its own, also where success is claimed", () => {
    const complaining = (succeeded: number) =>
      ran((guest) => {
        complain(guest, "no melons");
        return succeeded;
      });
    expect(complaining(0)).to.deep.equal(failure("Failed", "no melons"));
    expect(complaining(1)).to.deep.equal(failure("Failed", "no melons"));
    expect(ran(() => 0)).to.deep.equal(failure("Failed", "the operation grind failed and gave no error"));
  });

  it("takes set_error for the failure, whatever the guest says besides", () => {
    const result = ran((guest) => {
      guest.ask("set_error", '{"code":"Unripe","message":"not yet","retryable":true}');
      complain(guest, "other words");
      respond(guest, "a response");
      return 1;
    });
    expect(result).to.deep.equal(failure("Unripe", "not yet", true));
  });

  it("cuts an error that is too long, also one that is no text", () => {
    for (const byte of [0x78, 0xff]) {
      const result = ran((guest) => {
        guest.memory.fill(byte);
        guest.host.__guest_error?.(0, pageBytes);
        return 0;
      });
      if (result.kind !== "Failure") throw new Error(`it gave ${result.kind}`);
      expect(Buffer.byteLength(result.error.message)).to.be.within(16_000, 16_384);
    }
  });

  it("copies no response that is too large", () => {
    const result = ran((guest) => {
      guest.host.__guest_response?.(0, 1001);
      return 1;
    });
    expect(result).to.deep.equal({ kind: "TooLarge", bytes: 1001 });
  });

  it("tells of the call", () => {
    const guest = opened();
    expect(guest.ask("content_type")).to.deep.equal({ text: "text/plain" });
    expect(guest.ask("options")).to.deep.equal({ text: '{"depth":2}' });
    expect(guest.ask("metadata")).to.deep.equal({ text: '{"up.note":"ripe"}' });
    expect(JSON.parse(guest.ask("context").text ?? "")).to.include({ step: "step", attempt: 3 });
    expect(guest.ask("secret", "token")).to.deep.equal({ text: "ripe melon" });
    expect(guest.ask("config", "mode")).to.deep.equal({ text: "fast" });
    expect(guest.ask("secret", "constructor").error).to.include("no secret");
    expect(guest.ask("config", "toString").error).to.include("no such name");
  });

  it("takes content type, metadata and log", () => {
    let heard: readonly string[] = [];
    const result = ran((guest) => {
      expect(guest.ask("set_content_type", "text/css")).to.deep.equal({ text: "" });
      guest.ask("set_metadata", '{"a":"1","b":"2"}');
      guest.ask("set_metadata", '{"b":"3"}');
      guest.ask("log", "asked");
      guest.host.__console_log?.(...guest.put(100, "told"));
      heard = guest.log;
      return 1;
    });
    expect(result).to.deep.include({ kind: "Output", contentType: "text/css", metadata: { a: "1", b: "3" } });
    expect(heard).to.deep.equal(["asked", "told"]);
  });

  it("answers what it does not have with what there is, and forgets the last response", () => {
    const guest = opened();
    guest.ask("content_type");
    for (const { error } of [
      guest.ask("sing"),
      guest.ask("__proto__"),
      guest.ask("options", "", "other"),
      guest.ask("options", "", "millrace", "other"),
    ]) {
      expect(error).to.include("set_metadata").and.include("millrace");
    }
    expect(guest.host.__host_response_len?.()).to.equal(0);
    guest.ask("content_type");
    expect(guest.host.__host_error_len?.()).to.equal(0);
  });

  it("lets the guest pay for what it is told, asked for or not fetched, and more for JSON that is taken apart", () => {
    const guest = opened({ secrets: { token: "é".repeat(100_000) } });
    const paid = (operation: string, payload: string) => {
      const before = guest.call.fuel.used;
      const texts = ["millrace", "call", operation, payload];
      guest.host.__host_call?.(...texts.flatMap((text, index) => guest.put(index * 1000, text)));
      return guest.call.fuel.used - before;
    };
    expect(paid("secret", "token")).to.be.above(200_000);
    expect(paid("set_metadata", "[".repeat(10_000)) - paid("set_metadata", "")).to.be.above(80_000);
    expect(paid("no such operation", "")).to.be.above(800);
  });

  it("refuses what is no metadata and no error, and goes on", () => {
    for (const payload of ["", "no JSON", "[]", "null", '"a"', '{"a":1}', '{"a":null}']) {
      expect(opened().ask("set_metadata", payload).error, payload).to.include("JSON object of texts");
    }
    for (const payload of ["{}", '{"code":1,"message":"m"}', '{"code":"c","message":"m","retryable":"yes"}', "[]"]) {
      expect(opened().ask("set_error", payload).error, payload).to.include("set_error is JSON");
    }
    const guest = opened();
    guest.ask("set_metadata", '{"__proto__":"own","constructor":"too"}');
    expect(wapcAbi.invoke(guest.call, { __guest_call: () => 1 }, "x"))
      .to.have.property("metadata")
      .that.has.all.keys("__proto__", "constructor");
  });

  it("holds no more than its limits for a guest", () => {
    const long = (bytes: number) => "x".repeat(bytes);
    const hugePayload = (guest: Guest, operation: string) => {
      const called = ["millrace", "call", operation].flatMap((text, index) => guest.put(index * 100, text));
      return guest.host.__host_call?.(...called, 0, 200_000);
    };
    const tooMuch: ((guest: Guest) => unknown)[] = [
      (guest) => guest.ask("set_content_type", long(257)),
      (guest) => guest.ask("secret", long(254)),
      (guest) => guest.ask("config", long(254)),
      (guest) => guest.ask("set_metadata", JSON.stringify({ a: long(8193) })),
      (guest) => hugePayload(guest, "set_metadata"),
      (guest) => hugePayload(guest, "set_error"),
      (guest) => guest.ask("set_error", JSON.stringify({ code: long(257), message: "" })),
      (guest) => guest.ask("set_error", JSON.stringify({ code: "c", message: long(16_385) })),
      (guest) => guest.ask(long(257)),
      (guest) => guest.ask("log", "", long(257)),
    ];
    for (const [index, run] of tooMuch.entries()) {
      expect(thrownBy(() => run(opened())).code, String(index)).to.equal("PayloadTooLarge");
    }
  });

  it("refuses pointers that lie outside of the memory, and names that are no text", () => {
    const beyond = pageBytes - 1;
    const outside: [name: string, parameters: number[]][] = [
      ["__guest_request", [beyond, 0]],
      ["__guest_request", [0, beyond]],
      ["__guest_response", [0, pageBytes + 1]],
      ["__guest_response", [-1, -1]],
      ["__guest_error", [beyond, 2]],
      ["__console_log", [1, -1]],
      ["__host_call", [beyond, 2, 0, 0, 0, 0, 0, 0]],
      ["__host_call", [0, 0, beyond, 2, 0, 0, 0, 0]],
      ["__host_call", [0, 0, 0, 0, beyond, 2, 0, 0]],
    ];
    for (const [name, parameters] of outside) {
      const guest = opened();
      guest.call.operation = Buffer.from("grind");
      expect(thrownBy(() => guest.host[name]?.(...parameters)).code, name).to.equal("ProcessorCrashed");
    }
    const guest = opened();
    const called = ["millrace", "call", "log"].flatMap((text, index) => guest.put(index * 100, text));
    expect(thrownBy(() => guest.host.__host_call?.(...called, beyond, 2)).code).to.equal("ProcessorCrashed");
    guest.ask("content_type");
    expect(thrownBy(() => guest.host.__host_response?.(beyond)).code).to.equal("ProcessorCrashed");
    guest.ask("sing");
    expect(thrownBy(() => guest.host.__host_error?.(beyond)).code).to.equal("ProcessorCrashed");
    guest.memory[0] = 0xff;
    expect(thrownBy(() => guest.host.__host_call?.(0, 1, 0, 0, 0, 0, 0, 0)).code).to.equal("ProcessorCrashed");
  });
});
