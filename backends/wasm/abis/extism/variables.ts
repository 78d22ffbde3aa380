import { tooMuch } from "../refusals.ts";

/** Of all variables of one instance. */
export const maxVariableBytes = 1024 * 1024;

/** What the host spends on a variable beside its name and value. */
const overheadBytes = 64;

/** What a guest keeps from one call of its instance to the next. */
export class Variables {
  readonly #values = new Map<string, Uint8Array>();
  #bytes = 0;

  get(name: string): Uint8Array | undefined {
    return this.#values.get(name);
  }

  /**
   * Copies the value.
   * @throws PayloadTooLarge when there would be more than {@link maxVariableBytes}
   */
  set(name: string, value: Uint8Array): void {
    this.delete(name);
    const bytes = this.#bytes + sizeOf(name, value);
    if (bytes > maxVariableBytes) throw tooMuch("variables", bytes, maxVariableBytes);
    this.#values.set(name, new Uint8Array(value));
    this.#bytes = bytes;
  }

  delete(name: string): void {
    const value = this.#values.get(name);
    if (value === undefined) return;
    this.#values.delete(name);
    this.#bytes -= sizeOf(name, value);
  }

  clear(): void {
    this.#values.clear();
    this.#bytes = 0;
  }
}

function sizeOf(name: string, value: Uint8Array): number {
  return Buffer.byteLength(name) + value.byteLength + overheadBytes;
}
