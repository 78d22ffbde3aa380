import { LRUCache } from "lru-cache";
import { toMillraceError } from "../../engine/errors.ts";
import type { WorkerBody } from "../worker-message.ts";
import { serveJobs } from "../worker-side.ts";
import { type DirectLog, DirectModule } from "./abis/direct.ts";
import { admit } from "./admit.ts";
import type { CallJob, WasmAnswer, WasmJob } from "./worker-messages.ts";

// The entry of a worker thread: this is its composition root.

/** How many modules a worker remembers; it is sent others again. */
const maxModules = 64;

const modules = new LRUCache<string, DirectModule>({ max: maxModules });

function answer(job: WasmJob, log: DirectLog): WasmAnswer {
  try {
    if (job.kind === "WarmUp") return { kind: "Warm" };
    return job.kind === "Admit" ? { kind: "Admitted", module: admit(job.request) } : call(job, log);
  } catch (thrown) {
    const error = toMillraceError(thrown);
    return { kind: "Refused", code: error.code, message: error.message };
  }
}

function call(job: CallJob, log: DirectLog): WasmAnswer {
  let module = modules.get(job.id);
  if (module === undefined) {
    if (job.module === undefined) return { kind: "UnknownModule" };
    module = new DirectModule(job.module, job.entrypoint, job.maxMemoryBytes);
    modules.set(job.id, module);
  }
  return { kind: "Called", result: module.call(job.request, log) };
}

function body(result: WasmAnswer): WorkerBody {
  if (result.kind !== "Called" || result.result.kind !== "Output") return { body: result };
  return { body: result, transfer: [result.result.payload.buffer] };
}

serveJobs((job, _signal, log) => Promise.resolve(body(answer(job as WasmJob, log))));
