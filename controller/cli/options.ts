import { Option } from "commander";

/** For an option that may be given more than once. */
export function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

/** `-f`, as kubectl has it: required, and may be given more than once. */
export function filenameOption(): Option {
  return new Option("-f, --filename <path>", "file or directory with manifests, - for standard input; may be repeated")
    .argParser(collect)
    .makeOptionMandatory();
}
