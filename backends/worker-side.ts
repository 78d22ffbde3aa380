import { parentPort } from "node:worker_threads";
import type { FromWorker, ToWorker, WorkerBody } from "./worker-message.ts";

/**
 * The worker's end of a {@link WorkerPool}: answers each job with what `handle` gives. To be called once, by the
 * worker's entry. `signal` aborts when the pool's user aborts; soon afterwards the worker is terminated.
 */
export function serveJobs(handle: (body: unknown, signal: AbortSignal) => Promise<WorkerBody>): void {
  const port = parentPort;
  if (port === null) throw new Error("serveJobs is for the entry of a worker thread");
  const running = new Map<number, AbortController>();
  const send = (message: FromWorker, transfer: WorkerBody["transfer"] = []) => port.postMessage(message, [...transfer]);
  const run = async (id: number, body: unknown, signal: AbortSignal) => {
    try {
      const answer = await handle(body, signal);
      send({ type: "Done", id, body: answer.body }, answer.transfer);
    } catch (thrown) {
      send({ type: "Threw", id, message: thrown instanceof Error ? thrown.message : String(thrown) });
    } finally {
      running.delete(id);
    }
  };
  port.on("message", (message: ToWorker) => {
    if (message.type === "Abort") {
      running.get(message.id)?.abort();
      return;
    }
    const controller = new AbortController();
    running.set(message.id, controller);
    void run(message.id, message.body, controller.signal);
  });
  send({ type: "Ready" });
}
