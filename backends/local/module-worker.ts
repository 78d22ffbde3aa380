import { registerHooks } from "node:module";
import { systemPorts } from "../../engine/clock.ts";
import { MillraceError } from "../../engine/errors.ts";
import { postable, type WorkerBody } from "../worker-message.ts";
import { serveJobs } from "../worker-side.ts";
import { type AuthorContext, type AuthorProcess, type AuthorResponse, InvalidAnswer, interpret } from "./author.ts";
import { PreparedBuiltin, refusal } from "./builtin-processor.ts";
import { builtinCatalogue } from "./builtins/catalogue.ts";
import type { ModuleSource, WorkerAnswer, WorkerCall } from "./exchange.ts";
import { crashMessage } from "./module-errors.ts";

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

  async run(call: WorkerCall, signal: AbortSignal): Promise<WorkerBody> {
    const given = await this.#answer(call, signal);
    if (given.kind !== "Answered" || !given.answer.ok) return { body: given };
    const { bytes, transfer } = postable(given.answer.bytes);
    return { body: { kind: "Answered", answer: { ...given.answer, bytes } } satisfies WorkerAnswer, transfer };
  }

  async #answer(call: WorkerCall, signal: AbortSignal): Promise<WorkerAnswer> {
    const { task } = call;
    if (task.kind === "Builtin") {
      return { kind: "Answered", answer: interpret(await this.#builtin(task.name, call, signal)) };
    }
    try {
      const namespace = await this.#imported(task.module);
      const chosen = namespace[task.module.export];
      if (task.kind === "Load") return { kind: "Loaded", exports: Object.keys(namespace), exportType: typeof chosen };
      return { kind: "Answered", answer: interpret(await called(chosen as AuthorProcess, call, signal)) };
    } catch (thrown) {
      if (thrown instanceof InvalidAnswer) return { kind: "Threw", message: thrown.message };
      return { kind: "Threw", message: crashMessage(thrown, task.module.url) };
    }
  }

  async #imported(module: ModuleSource): Promise<Record<string, unknown>> {
    this.#verified.set(module.url, module);
    return (await import(module.url)) as Record<string, unknown>;
  }

  async #builtin(name: string, call: WorkerCall, signal: AbortSignal): Promise<AuthorResponse> {
    const builtin = builtinCatalogue.get(name);
    if (builtin === undefined || call.request === undefined) throw new MillraceError("Internal", `no built-in ${name}`);
    const prepared = this.#builtins.get(name) ?? new PreparedBuiltin(builtin, systemPorts.scheduler);
    this.#builtins.set(name, prepared);
    try {
      return await called(prepared.with(call.request.options), call, signal);
    } catch (thrown) {
      return refusal(thrown);
    }
  }
}

function called(process: AuthorProcess, call: WorkerCall, signal: AbortSignal): ReturnType<AuthorProcess> {
  if (call.request === undefined || call.context === undefined) throw new Error("a call without a request");
  const context: AuthorContext = { ...call.context, signal };
  return process(call.request, context);
}

const host = new ModuleHost();
serveJobs((body, signal) => host.run(body as WorkerCall, signal));
