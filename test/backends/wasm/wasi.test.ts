import { WASI } from "node:wasi";
import { expect } from "chai";
import { directAbi } from "../../../backends/wasm/abis/direct.ts";
import { type GuestCapabilities, noCapabilities } from "../../../backends/wasm/abis/guest.ts";
import { GuestExit } from "../../../backends/wasm/abis/guest-exit.ts";
import { wasiFunctions, wasiModule } from "../../../backends/wasm/abis/wasi/contract.ts";
import { errno } from "../../../backends/wasm/abis/wasi/errno.ts";
import { type WasiSystem, wasiSystem } from "../../../backends/wasm/abis/wasi/system.ts";
import { wasiImports } from "../../../backends/wasm/abis/wasi/wasi.ts";
import { WasiCall } from "../../../backends/wasm/abis/wasi/wasi-call.ts";
import { constant, type DirectParts, directModule, dropped, end, result } from "./assembler.ts";
import { loadGuest, type OpenCall, openCall, pageBytes, requestOf, thrownBy } from "./guests.ts";

type Capabilities = Partial<GuestCapabilities>;

interface Opened extends OpenCall<ReturnType<typeof directAbi.begin>> {
  readonly wasi: WasiCall;
  readonly slept: number[];
  /** Calls a function of WASI. */
  run(name: keyof typeof wasiFunctions, ...parameters: (number | bigint)[]): unknown;
}

/** WASI over a memory of one page, on a machine whose clocks stand still but for sleep. */
function opened(capabilities: Capabilities = {}): Opened {
  const guest = openCall(directAbi, requestOf("", { capabilities: { ...noCapabilities, ...capabilities } }));
  const slept: number[] = [];
  let monotonicMs = 1000.75;
  const system: WasiSystem = {
    ...wasiSystem,
    now: () => 1_700_000_000_123.9,
    monotonicNow: () => monotonicMs,
    sleep: (ms) => {
      slept.push(ms);
      monotonicMs += ms;
    },
  };
  const wasi = new WasiCall(guest.call, system, monotonicMs);
  const functions = wasiImports(() => wasi)[wasiModule] as Record<string, (...parameters: unknown[]) => unknown>;
  return { ...guest, wasi, slept, run: (name, ...parameters) => functions[name]?.(...parameters) };
}

function u64At(guest: Opened, pointer: number): bigint {
  return new DataView(guest.memory.buffer).getBigUint64(pointer, true);
}

/** Puts a list of buffers at `pointer`; gives it and its length. */
function putBuffers(guest: Opened, pointer: number, buffers: readonly (readonly [number, number])[]): [number, number] {
  const view = new DataView(guest.memory.buffer);
  for (const [index, [start, length]] of buffers.entries()) {
    view.setUint32(pointer + index * 8, start, true);
    view.setUint32(pointer + index * 8 + 4, length, true);
  }
  return [pointer, buffers.length];
}

interface Subscription {
  readonly userData: bigint;
  readonly tag?: number;
  readonly clock?: number;
  readonly ns?: bigint;
  readonly flags?: number;
}

function putSubscriptions(guest: Opened, pointer: number, subscriptions: readonly Subscription[]): void {
  const view = new DataView(guest.memory.buffer);
  for (const [index, { userData, tag = 0, clock = 1, ns = 0n, flags = 0 }] of subscriptions.entries()) {
    const at = pointer + index * 48;
    view.setBigUint64(at, userData, true);
    view.setUint8(at + 8, tag);
    view.setUint32(at + 16, clock, true);
    view.setBigUint64(at + 24, ns, true);
    view.setUint16(at + 40, flags, true);
  }
}

function zerosOf(name: keyof typeof wasiFunctions): (number | bigint)[] {
  return wasiFunctions[name].params.map((kind) => (kind === "i64" ? 0n : 0));
}

const beyond = pageBytes - 2;

describe("WASI preview 1", () => {
  it("has the functions that Node's own has, and no others", () => {
    const { wasiImport } = new WASI({ version: "preview1" });
    expect(Object.keys(wasiFunctions).sort()).to.deep.equal(Object.keys(wasiImport as object).sort());
    expect(wasiImports(() => opened().wasi)[wasiModule]).to.have.all.keys(Object.keys(wasiFunctions));
  });

  describe("texts", () => {
    it("gives one argument", () => {
      const guest = opened();
      expect(guest.run("args_sizes_get", 0, 4)).to.equal(errno.success);
      expect([guest.u32At(0), guest.u32At(4)]).to.deep.equal([1, 7]);
      expect(guest.run("args_get", 16, 32)).to.equal(errno.success);
      expect(guest.u32At(16)).to.equal(32);
      expect(guest.textAt(32, 7)).to.equal("module\0");
    });

    it("gives the environment of the Processor, and nothing of this process's", () => {
      const guest = opened({ env: { LANG: "de", NAME: "Grüße" } });
      guest.run("environ_sizes_get", 0, 4);
      expect([guest.u32At(0), guest.u32At(4)]).to.deep.equal([2, 21]);
      guest.run("environ_get", 16, 32);
      expect([guest.u32At(16), guest.u32At(20)]).to.deep.equal([32, 40]);
      expect(guest.textAt(32, 21)).to.equal("LANG=de\0NAME=Grüße\0");
    });

    it("costs what the host makes of it, also where only its size is asked for", () => {
      const guest = opened({ env: { TOKEN: "x".repeat(50_000) } });
      const before = guest.call.fuel.used;
      guest.run("environ_sizes_get", 0, 4);
      expect(guest.call.fuel.used - before).to.be.above(50_000);
    });

    for (const [name, pointers] of [
      ["args_sizes_get", [beyond, 0]],
      ["args_sizes_get", [0, -1]],
      ["args_get", [beyond, 0]],
      ["environ_get", [0, 0xffff_ffff]],
    ] as const) {
      it(`refuses ${name}(${pointers.join(", ")}), outside of the memory`, () => {
        expect(thrownBy(() => opened({ env: { A: "b" } }).run(name, ...pointers)).code).to.equal("ProcessorCrashed");
      });
    }
  });

  describe("clocks", () => {
    it("give whole milliseconds: since 1970, and since the instance was made", () => {
      const guest = opened();
      guest.run("clock_time_get", 0, 1n, 0);
      guest.run("clock_time_get", 1, 1n, 8);
      expect([u64At(guest, 0), u64At(guest, 8)]).to.deep.equal([1_700_000_000_123_000_000n, 0n]);
      for (const id of [0, 1]) {
        guest.run("clock_res_get", id, 16);
        expect(u64At(guest, 16)).to.equal(1_000_000n);
      }
    });

    it("are these two alone", () => {
      for (const id of [2, 3, 4, -1, 0xffff]) {
        expect(opened().run("clock_time_get", id, 1n, 0)).to.equal(errno.notSupported);
        expect(opened().run("clock_res_get", id, 0)).to.equal(errno.notSupported);
      }
    });

    it("are not written outside of the memory", () => {
      expect(thrownBy(() => opened().run("clock_time_get", 0, 1n, pageBytes - 7)).code).to.equal("ProcessorCrashed");
    });
  });

  describe("random numbers", () => {
    const drawn = (capabilities: Capabilities) => {
      const guest = opened(capabilities);
      guest.run("random_get", 0, 32);
      guest.run("random_get", 32, 32);
      return Buffer.from(guest.memory.slice(0, 64)).toString("hex");
    };

    it("are the same in every call with a seed, others with another, and go on within a call", () => {
      const first = drawn({ randomSeed: "a" });
      expect(drawn({ randomSeed: "a" })).to.equal(first);
      expect(drawn({ randomSeed: "b" })).to.not.equal(first);
      expect(first.slice(0, 64)).to.not.equal(first.slice(64));
    });

    it("are the same in each call of an instance too, whatever making it has drawn of its own", () => {
      const draw = (pointer: number) => [...constant(pointer), ...constant(8), 0x10, 0, dropped];
      const parts: DirectParts = {
        imports: [["wasi_snapshot_preview1", "random_get", [0, 3]]],
        more: [[...draw(0), ...draw(8), end]],
        process: [...draw(64), ...result(0, 72)],
      };
      for (const module of [
        directModule({ ...parts, start: 3 }),
        directModule({
          ...parts,
          exports: [
            ["memory", 2, 0],
            ["millrace_alloc", 0, 1],
            ["process", 0, 2],
            ["_initialize", 0, 3],
          ],
        }),
      ]) {
        const call = loadGuest(module, "process", { reuse: 3 });
        const request = () => requestOf("", { capabilities: { ...noCapabilities, randomSeed: "a" } });
        const seen = Array.from({ length: 4 }, () => {
          const { result: answer } = call(request());
          if (answer.kind !== "Output") throw new Error(JSON.stringify(answer));
          const hex = Buffer.from(answer.payload).toString("hex");
          return { made: hex.slice(0, 32), drawn: hex.slice(128) };
        });
        expect(new Set(seen.map(({ drawn }) => drawn)).size).to.equal(1);
        expect(new Set(seen.map(({ made }) => made)).size).to.equal(1);
        expect(seen[0]?.made).to.not.include(seen[0]?.drawn);
      }
    });

    it("are others in every call without", () => {
      expect(drawn({})).to.not.equal(drawn({}));
    });

    it("are the same bytes, however they are asked for", () => {
      const parts = opened({ randomSeed: "a" });
      for (let at = 0; at < 4096; at += 1) parts.run("random_get", at, 1);
      const whole = opened({ randomSeed: "a" });
      whole.run("random_get", 0, 4096);
      expect(parts.memory).to.deep.equal(whole.memory);
    });

    it("fill more than the system gives at once", () => {
      const guest = opened();
      expect(guest.run("random_get", 0, pageBytes)).to.equal(errno.success);
      expect(guest.memory.slice(-64)).to.not.deep.equal(new Uint8Array(64));
    });

    it("are not written outside of the memory", () => {
      expect(thrownBy(() => opened().run("random_get", 1, pageBytes)).code).to.equal("ProcessorCrashed");
      expect(thrownBy(() => opened().run("random_get", 0, -1)).code).to.equal("ProcessorCrashed");
    });
  });

  describe("output", () => {
    const print = (guest: Opened, descriptor: number, text: string) => {
      guest.put(100, text);
      return guest.run("fd_write", descriptor, ...putBuffers(guest, 0, [[100, Buffer.byteLength(text)]]), 64);
    };

    it("goes to the log by lines, those of stdout and stderr apart, and what is left at the call's end", () => {
      const guest = opened();
      for (const [descriptor, text] of [
        [1, "one "],
        [2, "oops\n"],
        [1, "line\nand an"],
        [1, "other\n\nrest"],
      ] as const) {
        expect(print(guest, descriptor, text)).to.equal(errno.success);
        expect(guest.u32At(64)).to.equal(Buffer.byteLength(text));
      }
      expect(guest.log).to.deep.equal(["oops", "one line", "and another\n"]);
      guest.wasi.flush();
      guest.wasi.flush();
      expect(guest.log.slice(3)).to.deep.equal(["rest"]);
    });

    it("is put together of several buffers", () => {
      const guest = opened();
      guest.put(100, "Grüße\n");
      const buffers = putBuffers(guest, 0, [
        [100, 3],
        [0, 0],
        [103, 5],
      ]);
      guest.run("fd_write", 1, ...buffers, 64);
      expect(guest.log).to.deep.equal(["Grüße"]);
      expect(guest.u32At(64)).to.equal(8);
    });

    it("holds a line without an end up to 8 KiB", () => {
      const guest = opened();
      guest.memory.fill(0x78, 1000, 11_000);
      guest.run("fd_write", 1, ...putBuffers(guest, 0, [[1000, 10_000]]), 64);
      expect(guest.log.map((text) => text.length)).to.deep.equal([8192]);
      guest.wasi.flush();
      expect(guest.log.map((text) => text.length)).to.deep.equal([8192, 10_000 - 8192]);
    });

    it("takes 64 KiB of a call, however often the same bytes are named", () => {
      const guest = opened();
      const all = Array.from({ length: 1024 }, () => [0, pageBytes] as const);
      expect(guest.run("fd_write", 1, ...putBuffers(guest, 0, all), 60_000)).to.equal(errno.success);
      expect(guest.u32At(60_000)).to.equal(pageBytes);
      guest.wasi.flush();
      expect(guest.log.join("").length).to.be.at.most(pageBytes);
    });

    it("refuses more buffers than 1,024, other descriptors, and what lies outside of the memory", () => {
      expect(opened().run("fd_write", 1, 0, 1025, 64)).to.equal(errno.invalid);
      expect(opened().run("fd_write", 1, 0, -1, 64)).to.equal(errno.invalid);
      for (const descriptor of [0, 3, 4, -1]) {
        expect(opened().run("fd_write", descriptor, 0, 1, 64)).to.equal(errno.badFileDescriptor);
      }
      const outside: ((guest: Opened) => unknown)[] = [
        (guest) => guest.run("fd_write", 1, beyond, 1, 64),
        (guest) => guest.run("fd_write", 1, ...putBuffers(guest, 0, [[pageBytes - 1, 2]]), 64),
        (guest) => guest.run("fd_write", 1, ...putBuffers(guest, 0, [[0xffff_fff0, 0x20]]), 64),
        (guest) => guest.run("fd_write", 1, ...putBuffers(guest, 0, [[0, 1]]), beyond),
      ];
      for (const run of outside) expect(thrownBy(() => run(opened())).code).to.equal("ProcessorCrashed");
    });
  });

  describe("files", () => {
    it("are none: input has ended, three descriptors are open, and no path leads anywhere", () => {
      const guest = opened();
      guest.memory.fill(0xff, 64, 68);
      expect(guest.run("fd_read", 0, 0, 0, 64)).to.equal(errno.success);
      expect(guest.u32At(64)).to.equal(0);
      expect(guest.run("fd_read", 1, 0, 0, 64)).to.equal(errno.badFileDescriptor);
      expect(guest.run("fd_prestat_get", 3, 0)).to.equal(errno.badFileDescriptor);
      expect(guest.run("fd_prestat_dir_name", 3, 0, 0)).to.equal(errno.badFileDescriptor);
      for (const name of Object.keys(wasiFunctions) as (keyof typeof wasiFunctions)[]) {
        const zeros = zerosOf(name);
        if (name.startsWith("path_")) expect(guest.run(name, ...zeros), name).to.equal(errno.notCapable);
        if (name.startsWith("sock_")) expect(guest.run(name, ...zeros), name).to.equal(errno.notSupported);
        if (name.startsWith("fd_")) {
          expect(guest.run(name, 3, ...zeros.slice(1)), name).to.equal(errno.badFileDescriptor);
          expect(guest.run(name, -1, ...zeros.slice(1)), name).to.equal(errno.badFileDescriptor);
        }
      }
    });

    it("of the terminal cannot be sought in, resized or read as directories, and stay open", () => {
      const answers = {
        fd_advise: errno.notSeekable,
        fd_allocate: errno.notSupported,
        fd_close: errno.success,
        fd_datasync: errno.success,
        fd_fdstat_set_flags: errno.success,
        fd_fdstat_set_rights: errno.notSupported,
        fd_filestat_set_size: errno.notSupported,
        fd_filestat_set_times: errno.notSupported,
        fd_pread: errno.notSeekable,
        fd_pwrite: errno.notSeekable,
        fd_readdir: errno.notDirectory,
        fd_renumber: errno.notSupported,
        fd_seek: errno.notSeekable,
        fd_sync: errno.success,
        fd_tell: errno.notSeekable,
      } as const;
      const guest = opened();
      for (const name of Object.keys(answers) as (keyof typeof answers)[]) {
        for (const descriptor of [0, 1, 2]) {
          expect(guest.run(name, descriptor, ...zerosOf(name).slice(1)), name).to.equal(answers[name]);
        }
      }
    });

    it("of the terminal say what they are", () => {
      const guest = opened();
      expect(guest.run("fd_fdstat_get", 1, 0)).to.equal(errno.success);
      expect([guest.memory[0], u64At(guest, 8), u64At(guest, 16)]).to.deep.equal([2, 1n << 6n, 0n]);
      guest.run("fd_fdstat_get", 0, 0);
      expect(u64At(guest, 8)).to.equal(1n << 1n);
      expect(guest.run("fd_filestat_get", 2, 100)).to.equal(errno.success);
      expect([guest.memory[116], u64At(guest, 132)]).to.deep.equal([2, 0n]);
      for (const name of ["fd_fdstat_get", "fd_filestat_get", "fd_read"] as const) {
        const parameters = name === "fd_read" ? [0, 0, 0, beyond] : [0, beyond];
        expect(thrownBy(() => opened().run(name, ...parameters)).code, name).to.equal("ProcessorCrashed");
      }
    });
  });

  describe("waiting", () => {
    it("sleeps until the first time, and tells which those are that have come", () => {
      const guest = opened();
      putSubscriptions(guest, 0, [
        { userData: 7n, ns: 20_000_000n },
        { userData: 8n, clock: 0, ns: 10_000_001n },
        { userData: 9n, ns: 11_000_000n, flags: 1 },
      ]);
      expect(guest.run("poll_oneoff", 0, 1000, 3, 2000)).to.equal(errno.success);
      expect(guest.slept).to.deep.equal([11]);
      expect(guest.u32At(2000)).to.equal(2);
      expect([u64At(guest, 1000), u64At(guest, 1032)]).to.deep.equal([8n, 9n]);
      expect(guest.memory.slice(1008, 1032)).to.deep.equal(new Uint8Array(24));
    });

    it("does not wait for what is past, and for nothing longer than the attempt has", () => {
      const past = opened();
      putSubscriptions(past, 0, [{ userData: 1n, clock: 0, ns: 5n, flags: 1 }]);
      past.run("poll_oneoff", 0, 1000, 1, 2000);
      expect(past.slept).to.deep.equal([0]);
      const long = opened();
      putSubscriptions(long, 0, [{ userData: 1n, ns: 0xffff_ffff_ffff_ffffn }]);
      for (let turn = 0; turn < 2; turn += 1) long.run("poll_oneoff", 0, 1000, 1, 2000);
      expect(long.slept).to.deep.equal([500, 0]);
    });

    it("is for clocks alone", () => {
      for (const subscription of [
        { userData: 1n, tag: 1 },
        { userData: 1n, tag: 2 },
        { userData: 1n, clock: 2 },
      ]) {
        const guest = opened();
        putSubscriptions(guest, 0, [{ userData: 0n }, subscription]);
        expect(guest.run("poll_oneoff", 0, 1000, 2, 2000)).to.equal(errno.notSupported);
        expect(guest.slept).to.deep.equal([]);
      }
    });

    it("refuses none, too many, and what lies outside of the memory before it sleeps", () => {
      for (const count of [0, 1025, -1]) expect(opened().run("poll_oneoff", 0, 0, count, 0)).to.equal(errno.invalid);
      const guest = opened();
      putSubscriptions(guest, 0, [{ userData: 1n, ns: 1_000_000n }]);
      expect(thrownBy(() => guest.run("poll_oneoff", beyond, 1000, 1, 2000)).code).to.equal("ProcessorCrashed");
      expect(thrownBy(() => guest.run("poll_oneoff", 0, beyond, 1, 2000)).code).to.equal("ProcessorCrashed");
      expect(guest.slept).to.deep.equal([]);
    });
  });

  it("ends the guest by throwing through it, and takes no signals", () => {
    expect(() => opened().run("proc_exit", -1))
      .to.throw(GuestExit)
      .with.property("code", 0xffff_ffff);
    expect(opened().run("proc_raise", 9)).to.equal(errno.notSupported);
    expect(opened().run("sched_yield")).to.equal(errno.success);
  });
});
