import { gzipSync, zstdCompressSync } from "node:zlib";
import { expect } from "chai";
import { readLayer } from "../../../../backends/wasm/sources/oci/image-layer.ts";
import { parseReference } from "../../../../backends/wasm/sources/oci/reference.ts";
import { tarOf } from "../../../support/registry.ts";
import { module, never, rejection } from "./support.ts";

const reference = parseReference("ghcr.io/acme/words:1");
const limits = { maxModuleBytes: 100_000, maxLayerBytes: 200_000 };
const other = Uint8Array.from([...module, 0, 1, 0]);

const read = (layer: Uint8Array, bounds = limits) => readLayer(layer, reference, bounds, never);
const readFiles = async (files: Readonly<Record<string, Uint8Array>>) => await read(gzipSync(await tarOf(files)));

describe("the layer of an image", () => {
  it("has one module among other files, at any depth", async () => {
    const files = { "etc/passwd": other, "README.md": Buffer.from("words"), "./app/bin/words.wasm": module };
    expect(await readFiles(files)).to.deep.equal(module);
  });

  it("has the module called plugin.wasm where it has several", async () => {
    expect(await readFiles({ "a.wasm": other, "plugin.wasm": module })).to.deep.equal(module);
    expect(await readFiles({ "/plugin.wasm": module, "b.wasm": other })).to.deep.equal(module);
  });

  it("is refused with several modules of which none is called so, and lists them", async () => {
    const error = await rejection(readFiles({ "a.wasm": module, "nested/plugin.wasm": other }));
    expect(error.code).to.equal("InvalidInput");
    expect(error.message).to.include("a.wasm").and.include("nested/plugin.wasm").and.include("ghcr.io/acme/words:1");
  });

  it("is refused without a module: notes of removal, and what macOS adds, are none", async () => {
    for (const files of [{}, { words: module }, { ".wh.words.wasm": module }, { "app/._words.wasm": module }]) {
      const error = await rejection(readFiles(files));
      expect(error.code).to.equal("InvalidInput");
      expect(error.message).to.include("no *.wasm file");
    }
  });

  it("is unpacked by what it is, not by what it is called", async () => {
    const tar = await tarOf({ "words.wasm": module });
    for (const layer of [tar, gzipSync(tar), zstdCompressSync(tar), module])
      expect(await read(layer)).to.deep.equal(module);
  });

  it("is unpacked up to its limit: few bytes can become many", async () => {
    const zeros = await tarOf({ "zeros.bin": new Uint8Array(50_000_000), "words.wasm": module });
    for (const layer of [gzipSync(zeros), zstdCompressSync(zeros)]) {
      expect(layer.byteLength).to.be.lessThan(limits.maxLayerBytes);
      const error = await rejection(read(layer));
      expect(error.code).to.equal("PayloadTooLarge");
      expect(error.message).to.include("200000 bytes");
    }
  });

  it("may not have a module over the limit", async () => {
    const error = await rejection(readFiles({ "words.wasm": new Uint8Array(100_001) }));
    expect(error.code).to.equal("PayloadTooLarge");
    expect(error.message).to.include("100001").and.include("words.wasm");
    expect(await readFiles({ "words.wasm": new Uint8Array(100_000) })).to.have.length(100_000);
  });

  it("may not be truncated or corrupt, wherever that is", async () => {
    const tar = await tarOf({ "words.wasm": new Uint8Array(5000).fill(7), "more.txt": other });
    const packed = gzipSync(tar);
    const broken = Uint8Array.from(tar);
    broken[0] = 0xff;
    const layers = [
      tar.subarray(0, 3000),
      tar.subarray(0, 600),
      packed.subarray(0, packed.byteLength - 9),
      packed.subarray(0, 10),
      gzipSync(tar.subarray(0, 3000)),
      zstdCompressSync(tar).subarray(0, 30),
      Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3]),
      broken,
      Buffer.from("not a tar at all"),
      new Uint8Array(1000).fill(1),
    ];
    for (const [index, layer] of layers.entries()) {
      const error = await rejection(read(layer));
      expect(error.code, `layer ${index}`).to.equal("InvalidInput");
      expect(error.message, `layer ${index}`).to.include("cannot be unpacked");
    }
  });

  it("is not unpacked for somebody who has gone", async () => {
    const gone = new Error("gone");
    const layer = gzipSync(await tarOf({ "words.wasm": module }));
    const thrown = await readLayer(layer, reference, limits, AbortSignal.abort(gone)).catch((error: unknown) => error);
    expect(thrown).to.equal(gone);
  });
});
