/** Characters that a terminal shows in two columns, and those that it shows in none. */
const wide =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3000-\u303F\uFF01-\uFF60\uFFE0-\uFFE6]/u;
const without = /\p{M}|\u200B|\u200C|\u200D|\uFE0F/u;

/** How many columns of a terminal the text takes; it holds no control characters. */
export function textWidth(text: string): number {
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

/** The text with as many blanks after it as it lacks. */
export function padded(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - textWidth(text)));
}

/** The text in at most that many columns; where something is missing in the middle stands an ellipsis. */
export function shortenedMiddle(text: string, width: number): string {
  if (textWidth(text) <= width) return text;
  if (width <= 1) return width === 1 ? "…" : "";
  const head = Math.ceil((width - 1) / 2);
  return `${startOf(text, head)}…${endOf(text, width - 1 - head)}`;
}

/** The text in at most that many columns; where its end is missing stands an ellipsis. */
export function shortenedEnd(text: string, width: number): string {
  if (textWidth(text) <= width) return text;
  return width < 1 ? "" : `${startOf(text, width - 1)}…`;
}

/** Lines of at most that many columns, broken at blanks where there are any. */
export function wrapped(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/ +/)) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (textWidth(longer) <= width) {
      line = longer;
      continue;
    }
    if (line !== "") lines.push(line);
    line = word;
    while (textWidth(line) > width) {
      const head = startOf(line, Math.max(2, width));
      lines.push(head);
      line = line.slice(head.length);
    }
  }
  if (line !== "" || lines.length === 0) lines.push(line);
  return lines;
}

function startOf(text: string, width: number): string {
  let start = "";
  let left = width;
  for (const character of text) {
    left -= characterWidth(character);
    if (left < 0) break;
    start += character;
  }
  return start;
}

function endOf(text: string, width: number): string {
  let end = "";
  let left = width;
  for (const character of Array.from(text).reverse()) {
    left -= characterWidth(character);
    if (left < 0) break;
    end = character + end;
  }
  return end;
}

function characterWidth(character: string): number {
  if (character < "\u0300") return 1;
  if (without.test(character)) return 0;
  return wide.test(character) ? 2 : 1;
}
