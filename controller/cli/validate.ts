import { Command, Option } from "commander";
import { builtinCatalogue, unknownBuiltin } from "../../backends/local/builtins/catalogue.ts";
import { type LocatedProblem, locate } from "../api/manifests.ts";
import { type CliContext, CliError, exitCodes } from "./context.ts";
import { filenameOption } from "./options.ts";
import { byPlace, checkLocated, formatProblem, locateProblems, openWorkspace, type Workspace } from "./workspace.ts";

interface ValidateFlags {
  readonly filename: readonly string[];
  readonly output: "text" | "json";
}

/** `millrace validate`. */
export function validateCommand(context: CliContext): Command {
  return new Command("validate")
    .description("Check manifests as the API server and the controller would, without a cluster.")
    .addOption(filenameOption())
    .addOption(
      new Option("-o, --output <format>", "text, or json for editors and CI").choices(["text", "json"]).default("text"),
    )
    .addHelpText("after", examples)
    .action((flags: ValidateFlags) => validate(flags, context));
}

const examples = `
Every problem is printed with its file, line, field and mend. Exit code 0: none; 1: some; 2: wrong usage.

Examples:
  millrace validate -f manifests/
  millrace validate -f processors.yaml -f pipeline.yaml
  kustomize build overlays/production | millrace validate -f -
  millrace validate -f manifests/ -o json | jq -r '.problems[].message'`;

async function validate(flags: ValidateFlags, context: CliContext): Promise<void> {
  const workspace = await openWorkspace(flags.filename, context);
  const problems = [
    ...workspace.problems,
    ...builtinProblems(workspace),
    ...(await pipelineProblems(workspace)),
  ].toSorted(byPlace);
  const errors = problems.filter(({ severity }) => severity === "Error").length;
  if (flags.output === "json") {
    const report = { objects: workspace.objects.length, errors, warnings: problems.length - errors, problems };
    context.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
  } else {
    context.stdout.write(problems.map((problem) => `${formatProblem(problem)}\n`).join(""));
    context.stdout.write(`${summary(workspace.objects.length, errors, problems.length - errors)}\n`);
  }
  if (errors > 0) throw new CliError("", exitCodes.failed);
}

/** Only the API server cannot know which built-ins there are. */
function builtinProblems(workspace: Workspace): LocatedProblem[] {
  return [...workspace.processors.values()].flatMap(({ object, source }) => {
    const name = object.spec.local?.builtin;
    if (name === undefined || builtinCatalogue.has(name)) return [];
    const path = "spec.local.builtin";
    return [{ ...locate(source, path), path, message: unknownBuiltin(name), severity: "Error" as const }];
  });
}

async function pipelineProblems(workspace: Workspace): Promise<LocatedProblem[]> {
  const problems: LocatedProblem[] = [];
  for (const pipeline of workspace.pipelines.values()) {
    const check = await checkLocated(workspace, pipeline);
    if (!check.ok) problems.push(...locateProblems(pipeline, check.problems));
  }
  return problems;
}

function summary(objects: number, errors: number, warnings: number): string {
  const parts = [count(objects, "object"), errors === 0 ? "no errors" : count(errors, "error")];
  return [...parts, ...(warnings === 0 ? [] : [count(warnings, "warning")])].join(", ");
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
