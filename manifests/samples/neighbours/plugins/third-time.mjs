/** Two attempts fail; the third says which it was. */
export function process(_, { attempt }) {
  if (attempt < 3) return { error: { code: "NotYet", message: `attempt ${attempt} is too early`, retryable: true } };
  return { json: { attempt } };
}
