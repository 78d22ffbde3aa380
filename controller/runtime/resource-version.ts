/**
 * Whether `a` is older than `b`. Resource versions of one kind are decimal numbers that grow (a promise since Kubernetes
 * 1.35, and so before); they are compared as text, as they may pass 2^53. An empty one is older than any.
 */
export function isOlder(a: string, b: string): boolean {
  return a.length === b.length ? a < b : a.length < b.length;
}
