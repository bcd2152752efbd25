/** What an error says; anything may be thrown. */
export function messageOf(error: unknown): string {
  // Errors of files that jiti evaluated come from another realm in tests: no instanceof.
  const message = (error as { message?: unknown } | null)?.message
  return typeof message === 'string' ? message : String(error)
}
