import { closest } from "../../engine/names.ts";
import { type Draft, type DraftObject, type FieldProblem, isDraftObject } from "./structural-schema.ts";

/** What a rule means, on the value that it describes. */
type NativeRule = (self: Draft, path: string) => FieldProblem[];

/** Steps of the graph may name each other in dependsOn, and nothing else. */
const dependencies =
  "[self.steps.transformMapEntry(i, t, {t.name: true})].all(names, self.steps.all(s, !has(s.dependsOn) || s.dependsOn.all(d, d in names)))";
/** So may steps of `finally`. */
const finallyDependencies =
  "!has(self.finally) || [self.finally.transformMapEntry(i, t, {t.name: true})].all(names, self.finally.all(s, !has(s.dependsOn) || s.dependsOn.all(d, d in names)))";
/** The two lists share one space of names. */
const finallyNames =
  "!has(self.finally) || [self.steps.transformMapEntry(i, t, {t.name: true})].all(names, self.finally.all(f, !(f.name in names)))";

/**
 * The rules, by their text, that core CEL cannot say within the server's cost limit: the server's CEL has a macro for
 * them, ours has not. Said here, they can name the very item, too.
 */
export const nativeRules: ReadonlyMap<string, NativeRule> = new Map([
  [dependencies, unknownDependencies],
  [finallyDependencies, unknownFinallyDependencies],
  [finallyNames, namesTakenBySteps],
]);

function unknownDependencies(spec: Draft, path: string): FieldProblem[] {
  const steps = stepsOf(spec, "steps");
  const names = namesOf(steps);
  const mend = (name: string) => meant(name, names) ?? "Name a step of the same Pipeline, or remove it.";
  return steps.flatMap((step, index) => {
    return unknownNames(step, names, `${path}.steps[${index}].dependsOn`, (name) => ({
      message: `there is no step ${JSON.stringify(name)} here`,
      mend: mend(name),
    }));
  });
}

function unknownFinallyDependencies(spec: Draft, path: string): FieldProblem[] {
  const steps = stepsOf(spec, "finally");
  const names = namesOf(steps);
  const graph = namesOf(stepsOf(spec, "steps"));
  return steps.flatMap((step, index) => {
    return unknownNames(step, names, `${path}.finally[${index}].dependsOn`, (name) => ({
      message: `there is no step ${JSON.stringify(name)} in finally`,
      mend: graph.has(name)
        ? "Remove it: finally begins when all steps of the graph have ended."
        : (meant(name, names) ?? "Name another step of finally, or remove it."),
    }));
  });
}

function namesTakenBySteps(spec: Draft, path: string): FieldProblem[] {
  const names = namesOf(stepsOf(spec, "steps"));
  return stepsOf(spec, "finally").flatMap((step, index) => {
    const name = textOf(step.name);
    if (!names.has(name)) return [];
    const message = `${JSON.stringify(name)} is the name of one of the steps already`;
    return [{ path: `${path}.finally[${index}].name`, message, mend: "Give this step of finally another name." }];
  });
}

type Said = Pick<FieldProblem, "message" | "mend">;

function unknownNames(
  step: DraftObject,
  names: ReadonlySet<string>,
  path: string,
  say: (name: string) => Said,
): FieldProblem[] {
  const dependsOn = Array.isArray(step.dependsOn) ? step.dependsOn : [];
  return dependsOn.flatMap((item, index) => {
    const name = textOf(item);
    return names.has(name) ? [] : [{ path: `${path}[${index}]`, ...say(name) }];
  });
}

function meant(name: string, names: ReadonlySet<string>): string | undefined {
  const similar = closest(name, names);
  return similar === undefined ? undefined : `Did you mean ${similar}?`;
}

function stepsOf(spec: Draft, field: "steps" | "finally"): DraftObject[] {
  const steps = isDraftObject(spec) ? spec[field] : undefined;
  return Array.isArray(steps) ? steps.filter(isDraftObject) : [];
}

function namesOf(steps: readonly DraftObject[]): ReadonlySet<string> {
  return new Set(steps.map((step) => textOf(step.name)));
}

function textOf(value: Draft | undefined): string {
  return typeof value === "string" ? value : JSON.stringify(value ?? null);
}
