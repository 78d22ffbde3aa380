/** Control characters, and those that turn the direction of what follows: a text could make itself look like another. */
const unprintable = /[\p{Cc}\u2028\u2029\u202A-\u202E\u2066-\u2069]/gu;

/**
 * Text that a processor or a manifest's author wrote, fit for one line of a terminal: control characters, line breaks
 * among them, are shown as escapes, so that nobody moves the cursor of who looks.
 */
export function printable(text: string): string {
  return text.replace(unprintable, (character) => {
    if (character === "\n") return "\\n";
    if (character === "\t") return " ";
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** The same of several lines: what is a line break stays one. */
export function printableLines(text: string): readonly string[] {
  return text
    .replace(/(?:\r?\n)+$/, "")
    .split(/\r?\n/)
    .map(printable);
}
