import { MillraceError } from "../../../engine/errors.ts";

/** A module's bytes, and where they came from. */
export interface SourcedModule {
  readonly bytes: Uint8Array;
  /** For the status and for messages: `file words.wasm`, `ConfigMap words/words.wasm`. */
  readonly source: string;
}

/** A module is larger than modules may be; nothing of it was compiled. */
export function moduleTooLarge(source: string, bytes: number, maxBytes: number): MillraceError {
  return new MillraceError(
    "PayloadTooLarge",
    `The WASM module of ${source}: ${bytes} bytes, over the limit of ${maxBytes} bytes for modules. Strip its debug information (wasm-strip, or the linker's -s), or optimise it for size.`,
  );
}
