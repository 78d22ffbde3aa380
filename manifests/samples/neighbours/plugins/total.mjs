/** The sum of a list of numbers. */
export const process = ({ payload }) => ({
  json: JSON.parse(Buffer.from(payload).toString()).reduce((sum, number) => sum + number, 0),
});
