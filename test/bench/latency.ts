// From the create of a five-step Execution to the watch event that shows its success, at 10 a second, on a real API server.
// Baseline: the reconciler by hand of the bench `executions`, in the same process, over the same client; the sides alternate
// second by second, so that both see the same machine.
import { setTimeout as delay } from "node:timers/promises";
import { type Contestant, openContest } from "../cluster/contest.ts";
import type { Bench } from "./bench.ts";

const perSecond = 10;
const warmUpSeconds = 2;
const seconds = 20;

export const bench: Bench = async () => {
  await using contest = await openContest();
  const ours: number[] = [];
  const byHand: number[] = [];
  for (let second = 0; second < warmUpSeconds + seconds; second++) {
    for (const [contestant, times] of [
      [contest.ours, ours],
      [contest.byHand, byHand],
    ] as const) {
      const measured = await oneSecond(contestant);
      if (second >= warmUpSeconds) times.push(...measured);
    }
  }
  return [row("p50", 0.5, 1.5, ours, byHand), row("p99", 0.99, 3, ours, byHand)];
};

async function oneSecond(contestant: Contestant): Promise<number[]> {
  const runs: Promise<number>[] = [];
  for (let index = 0; index < perSecond; index++) {
    runs.push(contestant.run());
    await delay(1000 / perSecond);
  }
  return await Promise.all(runs);
}

function row(name: string, share: number, bar: number, ours: readonly number[], byHand: readonly number[]) {
  const [oursMs, baselineMs] = [quantile(ours, share), quantile(byHand, share)];
  const ratio = oursMs / baselineMs;
  return {
    name: `latency/${name}`,
    ratio,
    bar: `<= ${bar}`,
    ok: ratio <= bar,
    metrics: { ms: oursMs },
    baseline: { ms: baselineMs },
  };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
