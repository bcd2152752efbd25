import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { createJiti } from 'jiti'

const own = createRequire(__filename)

/**
 * The default export of a `.ts` or `.js` file of a model owner. Types are stripped, not checked. `@millrace/...`
 * means ours, wherever the repository lies; other imports resolve from the file's own folder. The file and what it
 * imports beside itself are read anew with each call, and kept by nobody else; packages of `node_modules` are Node's.
 *
 * Rejects with what the file threw, or a syntax error that names file and line.
 */
export async function importDefault(path: string): Promise<unknown> {
  const jiti = createJiti(path, { moduleCache: false, virtualModules: ownRooms(), interopDefault: true })
  // Node keeps what is required natively, for good.
  for (const file of Object.keys(own.cache))
    if (file.endsWith('.json') && !file.includes('node_modules')) delete own.cache[file]
  const source = await readFile(path, 'utf8')
  const exported: unknown = await jiti.evalModule(source, { filename: path, async: true, forceTranspile: true })
  return (exported as { default?: unknown } | null)?.default ?? exported
}

/** Rooms that a repository's files may import, as far as they are here; loaded by whoever asks for them first. */
function ownRooms(): Record<string, unknown> {
  const rooms: Record<string, unknown> = {}
  for (const room of ['@millrace/base', '@millrace/facts', '@millrace/rules', '@millrace/workflow'])
    try {
      own.resolve(room)
      Object.defineProperty(rooms, room, { enumerable: true, get: () => own(room) as unknown })
    } catch {
      // Not installed here: the import itself will say so.
    }
  return rooms
}
