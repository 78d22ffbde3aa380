// Five-step Executions per second on a real API server, creation included, 32 at a time, with the controller in this process.
// Baseline: a reconciler by hand in the same process over the same client: it watches, and answers each new object with one
// PUT of a status as large as ours. It compiles, runs and checks nothing: what it takes, any controller takes. Both sides
// create and watch for the outcome in the same way.
import { type Contestant, openContest } from "../cluster/contest.ts";
import { type Bench, compare } from "./bench.ts";

const units = 160;
const inFlight = 32;

export const bench: Bench = async () => {
  await using contest = await openContest();
  const { ours, byHand } = contest;
  const measured = await compare({
    units,
    warmUpRounds: 2,
    rounds: 7,
    ours: () => runMany(ours),
    baseline: () => runMany(byHand),
  });
  const ratio = measured.baselineUs / measured.oursUs;
  const writes = ours.counts.writes / ours.counts.succeeded;
  const executionsPerSecond = 1e6 / measured.oursUs;
  return [
    {
      name: "executions/throughput",
      ratio,
      bar: ">= 0.85",
      ok: ratio >= 0.85,
      metrics: { executionsPerSecond },
      baseline: { executionsPerSecond: 1e6 / measured.baselineUs },
    },
    {
      name: "executions/writes",
      ratio: writes,
      bar: "<= 1.0",
      // A round on a busy machine may push one of a thousand over 250 ms; then it reports its progress, as it should.
      ok: writes <= 1.01,
      metrics: { writesPerExecution: writes },
      baseline: { writesPerExecution: byHand.counts.writes / byHand.counts.succeeded },
    },
  ];
};

async function runMany(contestant: Contestant): Promise<number> {
  let started = 0;
  let done = 0;
  const lane = async () => {
    while (started < units) {
      started++;
      await contestant.run();
      done++;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  return done;
}
