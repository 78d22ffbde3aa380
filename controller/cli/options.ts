import { Option } from "commander";

/** An option that may be given more than once; without it the list is empty. */
export function repeated(flags: string, description: string): Option {
  return new Option(flags, `${description}; may be repeated`).argParser(collect).default([], "none");
}

/** `-f`, as kubectl has it: required, and may be given more than once. */
export function filenameOption(): Option {
  return new Option("-f, --filename <path>", "file or directory with manifests, - for standard input; may be repeated")
    .argParser(collect)
    .makeOptionMandatory();
}

function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}
