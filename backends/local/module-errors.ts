import { fileURLToPath } from "node:url";
import { noSecrets, type Secrets } from "../secrets.ts";

/** How many lines of a stack a message has: the places nearest to the fault. */
const stackLines = 3;

const maxMessageLength = 1000;

/**
 * What a module threw, and where: `TypeError: x is not a function (at process (words.mjs:3:5))`.
 * @param secrets masked before anything is cut: half a secret would not be recognised as one
 */
export function crashMessage(thrown: unknown, url: string, secrets: Secrets = noSecrets): string {
  const short = (text: string) => secrets.masked(withoutFolder(text, url));
  if (!(thrown instanceof Error)) return `threw ${cut(short(typeof thrown === "string" ? thrown : inspected(thrown)))}`;
  const places = (thrown.stack ?? "")
    .split("\n")
    .filter((line) => /^\s+at /.test(line) && !line.includes("node:internal"))
    .slice(0, stackLines)
    .map((line) => short(line.trim()));
  const where = places.length === 0 ? "" : ` (${places.join("; ")})`;
  return `threw ${thrown.name}: ${cut(short(thrown.message))}${where}`;
}

/** The plugins directory's own path is nobody's business: a place is named from the module's folder on. */
function withoutFolder(text: string, url: string): string {
  const folder = new URL(".", url);
  return text
    .replaceAll(folder.href, "")
    .replaceAll(fileURLToPath(folder), "")
    .replaceAll(/\?sha256=[0-9a-f]+/g, "");
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
