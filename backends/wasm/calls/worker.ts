import { toMillraceError } from "../../../engine/errors.ts";
import type { WorkerBody } from "../../worker-message.ts";
import { serveJobs } from "../../worker-side.ts";
import type { GuestHost } from "../abis/guest.ts";
import { admit } from "../admission/admit.ts";
import { guestHttp } from "./guest-http.ts";
import { KeptModules } from "./kept-modules.ts";
import type { CallJob, WasmAnswer, WasmJob } from "./messages.ts";

// The entry of a worker thread: this is its composition root.

const modules = new KeptModules();

function answer(job: WasmJob, host: GuestHost): WasmAnswer {
  try {
    if (job.kind === "WarmUp") return { kind: "Warm" };
    return job.kind === "Admit" ? { kind: "Admitted", module: admit(job.request) } : call(job, host);
  } catch (thrown) {
    const error = toMillraceError(thrown);
    return { kind: "Refused", code: error.code, message: error.message };
  }
}

function call(job: CallJob, host: GuestHost): WasmAnswer {
  const answered = modules.call(job, job.link === undefined ? host : { ...host, http: guestHttp(job.link) });
  return answered === undefined ? { kind: "UnknownModule" } : { kind: "Called", answer: answered };
}

function body(result: WasmAnswer): WorkerBody {
  if (result.kind !== "Called" || result.answer.result.kind !== "Output") return { body: result };
  return { body: result, transfer: [result.answer.result.payload.buffer] };
}

serveJobs((job, _signal, log) => Promise.resolve(body(answer(job as WasmJob, { log }))));
