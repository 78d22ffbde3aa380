// Counts the lines and words of a text. The option `minimum` is how many words there must be.

import { begin, fail, log, options, result, setMetadata } from "./millrace";

export { millrace_alloc } from "./millrace";

export function process(pointer: usize, length: u32): u64 {
  begin();
  let lines: u32 = 0;
  let words: u32 = 0;
  let inside = false;
  for (let at: u32 = 0; at < length; at++) {
    const byte = load<u8>(pointer + at);
    const letter = byte > 0x20;
    if (byte == 0x0a) lines++;
    if (letter && !inside) words++;
    inside = letter;
  }
  const least = minimum(options());
  if (words < least) {
    return fail("TooShort", "the text has " + words.toString() + " words, fewer than " + least.toString(), false);
  }
  log("counted " + words.toString() + " words");
  setMetadata("words", words.toString());
  const json = '{"lines":' + lines.toString() + ',"words":' + words.toString() + "}";
  return result(String.UTF8.encode(json), "application/json");
}

/** The number after `"minimum":` in the options, 0 without it. */
function minimum(json: string): u32 {
  const key = '"minimum":';
  const at = json.indexOf(key);
  if (at < 0) return 0;
  let value: u32 = 0;
  for (let i = at + key.length; i < json.length; i++) {
    const digit = json.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  return value;
}
