/** What an error says; anything may be thrown. */
export function messageOf(error: unknown): string {
  // Errors of files that jiti evaluated come from another realm in tests: no instanceof.
  const message = (error as { message?: unknown } | null)?.message
  return typeof message === 'string' ? message : String(error)
}

/** The first place in `folder`'s files that an error's stack names: `file:line:column`; empty when there is none. */
export function placeOf(error: unknown, folder: string): string {
  const stack = (error as { stack?: unknown } | null)?.stack
  if (typeof stack !== 'string' || folder === '') return ''
  const line = stack.split('\n').find((line) => line.trimStart().startsWith('at ') && line.includes(folder))
  return line?.match(/\(?((?:file:\/\/)?\/[^()]*:\d+:\d+)\)?$/)?.[1]?.replace('file://', '') ?? ''
}

/** The message, and the place in `folder`'s files where there is one. */
export function toldWithPlace(error: unknown, folder: string): string {
  const place = placeOf(error, folder)
  return `${messageOf(error)}${place === '' ? '' : `, at ${place}`}`
}
