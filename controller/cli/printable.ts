/**
 * Text that a processor or a manifest's author wrote, fit for one line of a terminal: control characters, line breaks
 * among them, are shown as escapes, so that nobody moves the cursor of who looks.
 */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => {
    if (character === "\n") return "\\n";
    if (character === "\t") return " ";
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
