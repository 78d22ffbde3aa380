/** Heads or tails. */
export const process = () => (Math.random() < 0.5 ? "heads" : "tails");
