/** A fenced code block of a page. */
export interface CodeBlock {
  readonly page: string;
  /** Of the opening fence, from 1. */
  readonly line: number;
  /** The first word after the fence, for example `console`. */
  readonly language: string;
  /** The words after the language. */
  readonly flags: readonly string[];
  readonly text: string;
}

export function codeBlocks(page: string, markdown: string): CodeBlock[] {
  return [...markdown.matchAll(/^```(\S+)([^\n]*)\n([\s\S]*?)^```$/gm)].map((match) => ({
    page,
    line: markdown.slice(0, match.index).split("\n").length,
    language: match[1] ?? "",
    flags: (match[2] ?? "").trim().split(/\s+/).filter(Boolean),
    text: match[3] ?? "",
  }));
}

/** A command of a `console` block and what the page says that it prints; undefined where the page shows nothing. */
export interface Command {
  readonly line: string;
  readonly output: string | undefined;
}

/** `$ command` (a trailing `\` continues it), then its output up to the next command. */
export function commands(block: CodeBlock): Command[] {
  return block.text
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const end = /(?<!\\)\n/.exec(part)?.index ?? part.length;
      const output = part.slice(end + 1).trimEnd();
      return { line: part.slice(0, end), output: output === "" ? undefined : output };
    });
}

/** Whether `actual` is what the page says. In the page `…` stands for anything on its line, and a line of `…` alone for any lines. */
export function matchesPage(expected: string, actual: string): boolean {
  const pattern = expected
    .split("\n")
    .map((line) =>
      line.trim() === "…"
        ? "(?:.*\n)*?.*"
        : line
            .split("…")
            .map((part) => RegExp.escape(part))
            .join(".*?"),
    )
    .map((line) => `${line}[ \\t]*`)
    .join("\n");
  return new RegExp(`^${pattern}$`).test(actual.trimEnd());
}
