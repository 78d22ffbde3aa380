import { parentPort } from "node:worker_threads";
import { logLineOverheadBytes, maxLogBytes } from "./step-log.ts";
import type { FromWorker, ToWorker, WorkerBody } from "./worker-message.ts";

/** Does one job. `log` takes what it logs, `cutBytes` being what was left out at the text's end. */
export type JobHandler = (
  body: unknown,
  signal: AbortSignal,
  log: (text: string, cutBytes?: number) => void,
) => Promise<WorkerBody>;

/** What a job sends of its log, in characters, {@link logLineOverheadBytes} counted for each text: more than is kept, so that the cut is seen. */
const maxSentCharacters = 2 * maxLogBytes;

/** One job's log on its way to the pool. A job that logs without end sends few messages: then only how much it was, each time it has doubled. */
class JobLog {
  readonly #send: (text: string, cutBytes: number) => void;
  #left = maxSentCharacters;
  /** Cut and not told yet, and told. */
  #untold = 0;
  #told = 0;
  #ended = false;

  constructor(send: (text: string, cutBytes: number) => void) {
    this.#send = send;
  }

  /** @param cutBytes what was left out at the text's end already */
  readonly add = (text: string, cutBytes = 0): void => {
    if (this.#ended) return;
    const sent = this.#left <= 0 ? "" : text.slice(0, this.#left);
    const cut = cutBytes + Buffer.byteLength(text) - Buffer.byteLength(sent);
    if (this.#left > 0) this.#send(sent, cut);
    else this.#count(Math.max(1, cut));
    this.#left -= sent.length + logLineOverheadBytes;
  };

  /** The job has ended: what it goes on to log is dropped. */
  end(): void {
    this.#ended = true;
    this.#tell();
  }

  #count(bytes: number): void {
    this.#untold += bytes;
    if (this.#untold <= this.#told) return;
    this.#told += this.#untold;
    this.#tell();
  }

  #tell(): void {
    if (this.#untold > 0) this.#send("", this.#untold);
    this.#untold = 0;
  }
}

/**
 * The worker's end of a {@link WorkerPool}: answers each job with what `handle` gives. To be called once, by the
 * worker's entry. `signal` aborts when the pool's user aborts; soon afterwards the worker is terminated.
 */
export function serveJobs(handle: JobHandler): void {
  const port = parentPort;
  if (port === null) throw new Error("serveJobs is for the entry of a worker thread");
  const running = new Map<number, AbortController>();
  const send = (message: FromWorker, transfer: WorkerBody["transfer"] = []) => port.postMessage(message, [...transfer]);
  const run = async (id: number, body: unknown, signal: AbortSignal) => {
    const log = new JobLog((text, cutBytes) => send({ type: "Log", id, text, cutBytes }));
    try {
      const answer = await handle(body, signal, log.add);
      log.end();
      send({ type: "Done", id, body: answer.body }, answer.transfer);
    } catch (thrown) {
      log.end();
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
