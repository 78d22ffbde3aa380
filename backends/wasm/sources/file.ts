import { stat } from "node:fs/promises";
import { join } from "node:path";
import { MillraceError } from "../../../engine/errors.ts";
import type { ResolvedSource } from "../../backend.ts";
import { type ConfinedFile, readConfinedFile } from "../../confined-file.ts";
import type { FoundSignatures } from "../verify/check.ts";
import { digestOf } from "./digest.ts";
import { type LocalSource, maxSignatureBytes, moduleTooLarge, signatureTooLarge } from "./source.ts";

const field = "spec.wasm.source.file";

/** How often it is looked whether a file has changed, in milliseconds. */
const checkAgainMs = 5_000;

/** What was read of a file when it looked like this. */
interface Seen {
  readonly look: string;
  readonly digest: string;
}

/** Modules out of one directory. */
export class ModuleFiles {
  readonly #modulesDir: string | undefined;
  readonly #maxBytes: number;
  /** By path; a file that has not changed is not read to know what it is. */
  readonly #seen = new Map<string, Seen>();

  /** @param modulesDir absolute; undefined: none is configured, and every file is NotFound */
  constructor(modulesDir: string | undefined, maxBytes: number) {
    this.#modulesDir = modulesDir;
    this.#maxBytes = maxBytes;
  }

  /** The source that `file` is, relative to the directory. */
  source(file: string): LocalSource {
    return {
      kind: "Local",
      name: `file ${file}`,
      read: (signal) => this.#readModule(file, signal),
      resolve: (signal) => this.#resolve(file, signal),
      signatures: (signal) => this.#signatures(file, signal),
    };
  }

  async #resolve(file: string, signal: AbortSignal): Promise<ResolvedSource> {
    const look = await this.#look(file);
    const seen = this.#seen.get(file);
    if (look !== undefined && seen?.look === look) return { version: seen.digest, checkAgainMs };
    const digest = await digestOf(await this.#readModule(file, signal));
    // What changed while it was read is read again the next time.
    if (look !== undefined && look === (await this.#look(file))) this.#seen.set(file, { look, digest });
    else this.#seen.delete(file);
    return { version: digest, checkAgainMs };
  }

  /** What tells a file that has changed, links followed; undefined: it cannot be told. */
  async #look(file: string): Promise<string | undefined> {
    if (this.#modulesDir === undefined) return undefined;
    const found = await stat(join(this.#modulesDir, file), { bigint: true }).catch(() => undefined);
    return found && [found.dev, found.ino, found.size, found.mtimeNs, found.ctimeNs].join();
  }

  #readModule(file: string, signal: AbortSignal): Promise<Uint8Array> {
    const maxBytes = this.#maxBytes;
    const tooLarge = (bytes: number) => moduleTooLarge(`file ${file}`, bytes, maxBytes);
    return this.#read(file, { maxBytes, tooLarge }, signal);
  }

  /** @throws NotFound, `tooLarge`'s error, and what {@link readConfinedFile} throws: SandboxViolation, InvalidInput, Unavailable */
  async #read(
    file: string,
    { maxBytes, tooLarge }: Pick<ConfinedFile, "maxBytes" | "tooLarge">,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const directory = this.#modulesDir;
    if (directory === undefined) {
      throw new MillraceError(
        "NotFound",
        `${field}: ${file} cannot be read, as no modules directory is configured (--modules-dir).`,
      );
    }
    const confined = { directory, file, directoryName: "modules directory", field, maxBytes, tooLarge };
    return (await readConfinedFile(confined, signal)).bytes;
  }

  async #signatures(file: string, signal: AbortSignal): Promise<FoundSignatures> {
    const names = [`${file}.minisig`, `${file}.sig`];
    const files: Uint8Array[] = [];
    for (const name of names) {
      const tooLarge = (size: number) => signatureTooLarge(`file ${name}`, size);
      const bytes = await this.#read(name, { maxBytes: maxSignatureBytes, tooLarge }, signal).catch(
        (error: unknown) => {
          if (error instanceof MillraceError && error.code === "NotFound") return undefined;
          throw error;
        },
      );
      if (bytes !== undefined) files.push(bytes);
    }
    return { kind: "Detached", files, sought: names.join(" and ") };
  }
}
