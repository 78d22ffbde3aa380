/** How many lines of a stack a message has: the places nearest to the fault. */
const stackLines = 3;

const maxMessageLength = 1000;

/** What a module threw, and where: `TypeError: x is not a function (at process (words.mjs:3:5))`. */
export function crashMessage(thrown: unknown, url: string): string {
  if (!(thrown instanceof Error)) return `threw ${cut(typeof thrown === "string" ? thrown : inspected(thrown))}`;
  const places = (thrown.stack ?? "")
    .split("\n")
    .filter((line) => /^\s+at /.test(line) && !line.includes("node:internal"))
    .slice(0, stackLines)
    .map((line) => shortPlace(line.trim(), url));
  const where = places.length === 0 ? "" : ` (${places.join("; ")})`;
  return `threw ${thrown.name}: ${cut(thrown.message)}${where}`;
}

/** The plugins directory's own path is nobody's business: a place is named from the module's folder on. */
function shortPlace(line: string, url: string): string {
  const [path = ""] = url.split("?");
  const folder = path.slice(0, path.lastIndexOf("/") + 1);
  return line.replaceAll(folder, "").replaceAll(/\?sha256=[0-9a-f]+/g, "");
}

function inspected(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return typeof value;
  }
}

function cut(message: string): string {
  return message.length <= maxMessageLength ? message : `${message.slice(0, maxMessageLength)}…`;
}
