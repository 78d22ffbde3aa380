// An ES module as a processor: newline-delimited JSON documents in, plain text out.
// Each document becomes a header line `# YEAR NAME` and one line of cleaned text; documents come in order of their year.

const lineBreaks = /\s+/g;
const typography = /[\u2018\u2019\u201c\u201d\u2013\u2014\u2026\ufffd]/g;
const plain = { "‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": " - ", "…": "...", "\ufffd": " " };

/** @param {{payload: Uint8Array}} request */
export async function process(request) {
  const lines = new TextDecoder().decode(request.payload).split("\n");
  const documents = [];
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue;
    const document = parse(line);
    if (document === undefined) {
      const message = `line ${index + 1} is no JSON object with "year", "name" and "text"`;
      return { error: { code: "InvalidInput", message } };
    }
    documents.push(document);
  }
  documents.sort((a, b) => a.year - b.year || a.name.localeCompare(b.name));
  const text = documents.map(({ year, name, text }) => `# ${year} ${name}\n${clean(text)}\n`).join("");
  return {
    payload: new TextEncoder().encode(text),
    contentType: "text/plain; charset=utf-8",
    metadata: { documents: String(documents.length) },
  };
}

function parse(line) {
  try {
    const { year, name, text } = JSON.parse(line);
    return Number.isInteger(year) && typeof name === "string" && typeof text === "string"
      ? { year, name, text }
      : undefined;
  } catch {
    return undefined;
  }
}

function clean(text) {
  return text
    .replace(typography, (character) => plain[character])
    .replace(lineBreaks, " ")
    .trim();
}
