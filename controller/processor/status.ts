import type { BackendKind, LoadedModule } from "../../backends/backend.ts";
import { observedConditions } from "../api/observed.ts";
import type { ModuleStatus, Processor, ProcessorStatus } from "../api/types.ts";
import { type Condition, type ConditionState, removeCondition, setCondition } from "../runtime/conditions.ts";
import { bounded, type Refusal } from "./refusal.ts";

/** What is known of a Processor when its status is written. */
export interface Observation {
  /** Of the object. */
  readonly generation: number;
  /** What its current spec asks for. */
  readonly backend: BackendKind;
  readonly serving?: ServingObservation;
  /** Why the current spec, or its current module, does not serve. */
  readonly refused?: Refusal;
}

/** The version that serves calls. */
export interface ServingObservation {
  readonly generation: number;
  readonly backend: BackendKind;
  readonly module?: LoadedModule;
  /** Why its endpoint cannot be used; absent: it answers, or there is none. */
  readonly unreachable?: Refusal;
  /** Why its secrets cannot be had; absent: they can. */
  readonly lacking?: Refusal;
  /** Why it cannot be told whether its source names another module by now. */
  readonly unchecked?: Refusal;
}

const backendConditions = {
  Local: "PluginLoaded",
  RPC: "EndpointReachable",
  WASM: "ModuleCached",
} as const satisfies Record<BackendKind, string>;

const maxListed = 256;

/** Ready, at most one of Reconciling and Stalled, and the backend's own condition. */
export function processorStatus(object: Processor, seen: Observation, nowMs: number): ProcessorStatus {
  let conditions: readonly Condition[] = observedConditions(object.status);
  const own = backendConditions[seen.refused === undefined ? (seen.serving?.backend ?? seen.backend) : seen.backend];
  for (const type of Object.values(backendConditions)) {
    if (type !== own) conditions = removeCondition(conditions, type);
  }
  const progress = progressCondition(seen);
  for (const type of ["Reconciling", "Stalled"]) {
    if (type !== progress?.type) conditions = removeCondition(conditions, type);
  }
  for (const next of [readyCondition(seen), { ...backendCondition(seen), type: own }, progress]) {
    if (next !== undefined) conditions = setCondition(conditions, next, nowMs);
  }
  const { serving } = seen;
  return {
    observedGeneration: seen.generation,
    backend: serving?.backend ?? seen.backend,
    conditions,
    ...(serving?.module === undefined ? {} : { module: moduleStatus(serving.module) }),
  };
}

/** Stays True for the older version when a newer one is refused; its observedGeneration tells which one it speaks of. */
function readyCondition(seen: Observation): ConditionState {
  const { serving, refused, generation } = seen;
  if (serving === undefined)
    return { type: "Ready", status: "False", ...sayRefused(refused), observedGeneration: generation };
  const unusable = serving.lacking ?? serving.unreachable;
  if (unusable !== undefined) {
    return { type: "Ready", status: "False", ...sayRefused(unusable), observedGeneration: serving.generation };
  }
  if (refused === undefined)
    return { type: "Ready", status: "True", ...sayServing(serving), observedGeneration: generation };
  return {
    type: "Ready",
    status: "True",
    reason: "PreviousVersionServes",
    message: bounded(`${previous(seen, serving)} serves on, as the new one is refused: ${refused.message}`),
    observedGeneration: serving.generation,
  };
}

function backendCondition(seen: Observation): Omit<ConditionState, "type"> {
  const { serving, refused, generation } = seen;
  const trouble = refused ?? serving?.unreachable;
  if (trouble === undefined && serving !== undefined) {
    return { status: "True", ...sayServing(serving), observedGeneration: generation };
  }
  return { status: "False", ...sayRefused(trouble), observedGeneration: generation };
}

function progressCondition(seen: Observation): ConditionState | undefined {
  const trouble = seen.refused ?? seen.serving?.lacking ?? seen.serving?.unreachable ?? seen.serving?.unchecked;
  if (trouble === undefined) return undefined;
  const type = trouble.duration === "Transient" ? "Reconciling" : "Stalled";
  return { type, status: "True", ...sayRefused(trouble), observedGeneration: seen.generation };
}

function sayRefused(refused: Refusal | undefined): { reason: string; message: string } {
  if (refused === undefined) return { reason: "Pending", message: "Waiting for the controller" };
  return { reason: refused.reason, message: refused.message };
}

function sayServing(serving: ServingObservation): { reason: string; message: string } {
  if (serving.backend === "RPC") return { reason: "EndpointReachable", message: "The endpoint answers." };
  const { module, unchecked } = serving;
  if (module === undefined) return { reason: "Loaded", message: "The built-in is loaded." };
  const loaded = `The module of ${module.source} is loaded (${module.digest}).`;
  const doubt = unchecked === undefined ? "" : ` Its source cannot be asked for a newer one: ${unchecked.message}`;
  return { reason: "Loaded", message: bounded(`${loaded}${doubt}`) };
}

function previous(seen: Observation, serving: ServingObservation): string {
  if (serving.generation !== seen.generation) return `Generation ${serving.generation}`;
  return `The module ${serving.module?.digest ?? "before"}`;
}

function moduleStatus(module: LoadedModule): ModuleStatus {
  return {
    digest: module.digest,
    bytes: module.bytes,
    source: module.source,
    ...(module.reference === undefined ? {} : { reference: module.reference }),
    ...(module.abi === undefined ? {} : { abi: module.abi }),
    ...(module.imports === undefined ? {} : { imports: module.imports.slice(0, maxListed) }),
    ...(module.exports === undefined ? {} : { exports: module.exports.slice(0, maxListed) }),
  };
}
