import { createRequire } from 'node:module'
import { createJiti } from 'jiti'

/**
 * The default export of a `.ts` or `.js` file of a model owner. Types are stripped, not checked. `@millrace/...`
 * means ours, wherever the repository lies; other imports resolve from the file's own folder.
 *
 * Rejects with what the file threw, or a syntax error that names file and line.
 */
export async function importDefault(path: string): Promise<unknown> {
  const jiti = createJiti(path, { alias: ownRooms(), interopDefault: true })
  return jiti.import(path, { default: true })
}

/** Rooms that a repository's files may import, as far as they are here. */
function ownRooms(): Record<string, string> {
  const own = createRequire(__filename)
  const alias: Record<string, string> = {}
  for (const room of ['@millrace/base', '@millrace/facts', '@millrace/rules', '@millrace/workflow'])
    try {
      alias[room] = own.resolve(room)
    } catch {
      // Not installed here: the import itself will say so.
    }
  return alias
}
