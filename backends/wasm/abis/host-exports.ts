// What admission adds to a module's exports, for the host's eyes alone.

/** What the host adds to a module's exports begins so; a module may not. */
export const reservedPrefix = "millrace:";

/** The start function, as an export. */
export const startExport = "millrace:start";

/** The exported i32 global that is 1 while the last `memory.grow` was refused. */
export const refusedGlobal = "millrace:memory-refused";

/** The exported i32 global of how many pages the host holds for the module besides its memory, which may grow by so many fewer. */
export const heldGlobal = "millrace:held-pages";

/** The exported i64 global that counts fuel and stack; see `fuel.ts`. */
export const fuelGlobal = "millrace:fuel";
