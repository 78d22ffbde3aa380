/** The guest has ended itself by WASI's `proc_exit`: thrown through its own code, which cannot catch it. */
export class GuestExit extends Error {
  override readonly name = "GuestExit";
  readonly code: number;

  constructor(code: number) {
    super(`exited with ${code}`);
    this.code = code;
  }
}

/** Runs code of the guest. Gives what it returned; nothing where it exited with 0, which counts as a return. */
export function returned<Result>(run: () => Result): Result | undefined {
  try {
    return run();
  } catch (thrown) {
    if (thrown instanceof GuestExit && thrown.code === 0) return undefined;
    throw thrown;
  }
}
