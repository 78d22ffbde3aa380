import { AsyncLocalStorage } from "node:async_hooks";
import { registerHooks } from "node:module";
import { format } from "node:util";
import { systemPorts } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import { Secrets } from "../secrets.ts";
import { postable, type WorkerBody } from "../worker-message.ts";
import { serveJobs } from "../worker-side.ts";
import { type AuthorContext, type AuthorProcess, type AuthorRequest, InvalidAnswer, interpret } from "./author.ts";
import { overflow, PreparedBuiltin, refusal } from "./builtin-processor.ts";
import { BoundedOutput } from "./builtins/bounded-output.ts";
import { builtinCatalogue } from "./builtins/catalogue.ts";
import { loggedText, type ModuleSource, type WorkerAnswer, type WorkerCall, type WorkerTask } from "./exchange.ts";
import { crashMessage } from "./module-errors.ts";

type Log = (text: string) => void;

/** The log of the attempt that code runs for, however late it runs: a timer that an earlier attempt left behind still has that one's. */
const attemptLog = new AsyncLocalStorage<Log>();

/** What a module prints by the console goes to the attempt's log; what it prints while it is loaded belongs to none, and is dropped. */
for (const level of ["log", "info", "warn", "error", "debug"] as const) {
  console[level] = (...values: unknown[]) => attemptLog.getStore()?.(format(...values));
}

/** What one worker thread has loaded. */
class ModuleHost {
  /** Modules whose bytes were verified by digest before they came here, by URL. */
  readonly #verified = new Map<string, ModuleSource>();
  readonly #builtins = new Map<string, PreparedBuiltin>();

  constructor() {
    // A verified module is loaded from those bytes and not from the file, which may be another by now.
    registerHooks({
      load: (url, context, nextLoad) => {
        const module = this.#verified.get(url);
        if (module === undefined) return nextLoad(url, context);
        const format = module.typescript ? "module-typescript" : "module";
        return { format, source: Buffer.from(new Uint8Array(module.source)).toString(), shortCircuit: true };
      },
    });
  }

  async run(call: WorkerCall, signal: AbortSignal, log: Log): Promise<WorkerBody> {
    const given = await attemptLog.run(log, () => this.#answer(call, signal, log));
    if (given.kind !== "Answered" || !given.answer.ok) return { body: given };
    const { bytes, transfer } = postable(given.answer.bytes);
    return { body: { kind: "Answered", answer: { ...given.answer, bytes } } satisfies WorkerAnswer, transfer };
  }

  async #answer(call: WorkerCall, signal: AbortSignal, log: Log): Promise<WorkerAnswer> {
    const { task } = call;
    if (task.kind === "Builtin") return this.#builtin(task, call, signal, log);
    try {
      const namespace = await this.#imported(task.module);
      const chosen = namespace[task.module.export];
      if (task.kind === "Load") return { kind: "Loaded", exports: Object.keys(namespace), exportType: typeof chosen };
      const { request, context } = called(call, signal, log);
      return { kind: "Answered", answer: interpret(await (chosen as AuthorProcess)(request, context)) };
    } catch (thrown) {
      if (thrown instanceof InvalidAnswer) return { kind: "Threw", message: thrown.message };
      const secrets = new Secrets(call.context?.secrets ?? {});
      return { kind: "Threw", message: crashMessage(thrown, task.module.url, secrets) };
    }
  }

  async #imported(module: ModuleSource): Promise<Record<string, unknown>> {
    this.#verified.set(module.url, module);
    return (await import(module.url)) as Record<string, unknown>;
  }

  async #builtin(
    task: WorkerTask & { kind: "Builtin" },
    call: WorkerCall,
    signal: AbortSignal,
    log: Log,
  ): Promise<WorkerAnswer> {
    const { name, maxOutputBytes } = task;
    const builtin = builtinCatalogue.get(name);
    if (builtin === undefined) throw new MillraceError("Internal", `no built-in ${name}`);
    const prepared = this.#builtins.get(name) ?? new PreparedBuiltin(builtin, systemPorts.scheduler);
    this.#builtins.set(name, prepared);
    try {
      const { request, context } = called(call, signal, log);
      const response = await prepared.with(request.options)(request, context, new BoundedOutput(maxOutputBytes));
      return { kind: "Answered", answer: interpret(response) };
    } catch (thrown) {
      const stopped = overflow(thrown);
      if (stopped !== undefined) return { kind: "Overflowed", bytes: stopped.bytes };
      return { kind: "Answered", answer: interpret(refusal(thrown)) };
    }
  }
}

function called(call: WorkerCall, signal: AbortSignal, log: Log): { request: AuthorRequest; context: AuthorContext } {
  if (call.request === undefined || call.context === undefined) throw new Error("a call without a request");
  return { request: call.request, context: { ...call.context, signal, log: (text) => log(loggedText(text)) } };
}

const host = new ModuleHost();
serveJobs((body, signal, log) => host.run(body as WorkerCall, signal, log));
