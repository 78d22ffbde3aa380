/** A condition as the Kubernetes API conventions define it. */
export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  /** CamelCase and stable. */
  readonly reason: string;
  /** Says what is so, and what would mend it; no timestamps. */
  readonly message: string;
  readonly observedGeneration: number;
  /** RFC 3339, in whole seconds: when `status` last changed. */
  readonly lastTransitionTime: string;
}

export type ConditionState = Omit<Condition, "lastTransitionTime">;

/** What kstatus, `kubectl wait`, Flux and Helm read off an object. */
export interface Summary {
  /**
   * Ready: as the spec wants it. Reconciling: on the way there. Stalled: it needs somebody to change something.
   * At most one of the conditions Reconciling and Stalled is present: kstatus lets Reconciling win.
   */
  readonly state: "Ready" | "Reconciling" | "Stalled";
  /** What Ready says while Reconciling; default Unknown. False tells that it was looked at and does not work yet. */
  readonly whileReconciling?: "Unknown" | "False" | "True";
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
}

/** RFC 3339 in whole seconds, as Kubernetes writes times. */
export function timestamp(nowMs: number): string {
  return `${new Date(nowMs).toISOString().slice(0, 19)}Z`;
}

export function findCondition(conditions: readonly Condition[], type: string): Condition | undefined {
  return conditions.find((condition) => condition.type === type);
}

/** Adds or replaces one. `lastTransitionTime` moves only when `status` does. The very same array when nothing changed. */
export function setCondition(
  conditions: readonly Condition[],
  next: ConditionState,
  nowMs: number,
): readonly Condition[] {
  const index = conditions.findIndex((condition) => condition.type === next.type);
  const previous = conditions[index];
  if (previous === undefined) return [...conditions, { ...next, lastTransitionTime: timestamp(nowMs) }];
  if (equal(previous, next)) return conditions;
  const kept = previous.status === next.status ? previous.lastTransitionTime : timestamp(nowMs);
  return conditions.with(index, { ...next, lastTransitionTime: kept });
}

/** The very same array when there was none. */
export function removeCondition(conditions: readonly Condition[], type: string): readonly Condition[] {
  return findCondition(conditions, type) ? conditions.filter((condition) => condition.type !== type) : conditions;
}

/** Sets Ready, and Reconciling or Stalled to match; removes the other. */
export function summarise(conditions: readonly Condition[], summary: Summary, nowMs: number): readonly Condition[] {
  const { state, reason, message, observedGeneration } = summary;
  const common = { reason, message, observedGeneration };
  let next = setCondition(conditions, { type: "Ready", status: readyStatus(summary), ...common }, nowMs);
  if (state !== "Reconciling") next = removeCondition(next, "Reconciling");
  if (state !== "Stalled") next = removeCondition(next, "Stalled");
  return state === "Ready" ? next : setCondition(next, { type: state, status: "True", ...common }, nowMs);
}

function readyStatus({ state, whileReconciling }: Summary): Condition["status"] {
  if (state === "Ready") return "True";
  return state === "Stalled" ? "False" : (whileReconciling ?? "Unknown");
}

function equal(a: ConditionState, b: ConditionState): boolean {
  return (
    a.status === b.status &&
    a.reason === b.reason &&
    a.message === b.message &&
    a.observedGeneration === b.observedGeneration
  );
}
