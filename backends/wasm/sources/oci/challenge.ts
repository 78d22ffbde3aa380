/** What a server that answers 401 asks for (RFC 9110, `WWW-Authenticate`). */
export interface Challenge {
  /** In lower case. */
  readonly scheme: string;
  /** By lower-case name. */
  readonly parameters: ReadonlyMap<string, string>;
}

const separator = /[\s,]*/y;
const word = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const equals = /\s*=\s*/y;
const quoted = /"((?:[^"\\]|\\.)*)"/y;
/** Of a value without quotes; more than the RFC has, as some servers forget to quote URLs. */
const bare = /[^\s,"]+/y;

/** The challenges of one header, which may hold several; what comes after something malformed is left out. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  let position = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = position;
    const match = pattern.exec(header) ?? undefined;
    if (match !== undefined) position = pattern.lastIndex;
    return match;
  };
  while (position < header.length) {
    take(separator);
    const name = take(word)?.[0].toLowerCase();
    if (name === undefined) break;
    if (take(equals) === undefined) {
      challenges.push({ scheme: name, parameters: new Map() });
      continue;
    }
    const value = take(quoted)?.[1]?.replace(/\\(.)/g, "$1") ?? take(bare)?.[0];
    if (value === undefined) break;
    challenges.at(-1)?.parameters.set(name, value);
  }
  return challenges;
}
