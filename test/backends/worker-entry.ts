import { parentPort } from "node:worker_threads";
import { serveJobs } from "../../backends/worker-side.ts";

/** What a job asks the worker of the tests to do. */
export type TestJob =
  | "echo"
  | "env"
  | "spin"
  | "exit"
  | "throw"
  | "reject-later"
  | "grow"
  | "wait"
  | "print"
  | "forge"
  | "log";

/** Keeps what it was given reachable, so that the heap fills. */
function grow(): never {
  const kept: unknown[] = [];
  for (;;) kept.push(Array.from({ length: 100_000 }, () => kept.length));
}

function spin(): never {
  for (;;);
}

async function print(): Promise<string> {
  for (let line = 0; line < 2000; line += 1) process.stdout.write(`${"x".repeat(1000)}\n`);
  return "printed";
}

serveJobs(async (body, signal, log) => {
  switch (body as TestJob) {
    case "env":
      return { body: { env: { ...process.env }, argv: process.argv.length } };
    case "spin":
      return spin();
    case "exit":
      return process.exit(3);
    case "throw":
      throw new Error("no");
    case "reject-later":
      setTimeout(() => {
        throw new Error("late");
      }, 0);
      return new Promise(() => {});
    case "grow":
      return grow();
    case "wait":
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      return { body: "stopped" };
    case "print":
      return { body: await print() };
    case "log":
      for (let line = 0; line < 1_000_000; line += 1) log("ü");
      return { body: "logged" };
    case "forge":
      parentPort?.postMessage(null);
      parentPort?.postMessage({ type: "Done", id: 999, body: "forged" });
      return { body: "real" };
    default:
      return { body };
  }
});
