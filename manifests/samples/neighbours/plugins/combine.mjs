/** All combinations of an object of lists: `{a: [1, 2], b: [3]}` gives `[{a: 1, b: 3}, {a: 2, b: 3}]`. */
export function process({ payload }) {
  const axes = Object.entries(JSON.parse(Buffer.from(payload).toString()));
  const widen = (combinations, [name, values]) =>
    combinations.flatMap((combination) => values.map((value) => ({ ...combination, [name]: value })));
  return { json: axes.reduce(widen, [{}]) };
}
