import Mocha from "mocha";

/** Mocha's own reporter, closed by one plain line that says how many tests passed, failed and were left out. */
class PlainSummary extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options?: Mocha.MochaOptions) {
    super(runner, options);
    runner.once(Mocha.Runner.constants.EVENT_RUN_END, () => {
      const { passes = 0, failures = 0, pending = 0 } = runner.stats ?? {};
      console.log(`${passes} passed, ${failures} failed, ${pending} skipped`);
    });
  }
}

// Mocha loads a reporter as the module's default export.
// biome-ignore lint/style/noDefaultExport: mocha's contract for reporters
export default PlainSummary;
