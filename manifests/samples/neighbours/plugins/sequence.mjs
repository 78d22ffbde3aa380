/** The integers from `start` to `end`, upwards or downwards. */
export function process({ options: { start, end } }) {
  const step = start <= end ? 1 : -1;
  return { json: Array.from({ length: Math.abs(end - start) + 1 }, (_, index) => start + step * index) };
}
