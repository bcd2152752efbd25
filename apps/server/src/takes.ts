/** Whether a pool takes a version: `patterns` are `name` or `name@version`, with `*` for any text; none: all. */
export function takes(
  patterns: readonly string[],
  { name, version }: { readonly name: string; readonly version: number },
): boolean {
  return (
    patterns.length === 0 ||
    patterns.some((pattern) => fits(pattern, pattern.includes('@') ? `${name}@${version}` : name))
  )
}

function fits(pattern: string, text: string): boolean {
  const source = pattern.split('*').map((part) => part.replace(/[^\w@-]/g, '\\$&'))
  return new RegExp(`^${source.join('.*')}$`).test(text)
}
