/** Throws when a condition that the code around it relies on does not hold: a bug, never a bad request. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`)
}
