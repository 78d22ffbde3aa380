/** The bytes of base64 with its padding; undefined for what is none, where Buffer would skip what it cannot read. */
export function fromBase64(text: string): Buffer | undefined {
  if (text === "" || text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined;
  return Buffer.from(text, "base64");
}
