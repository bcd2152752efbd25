import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SignaturePort } from './saved-model'

/*
 * Graphs that were written once, by what they were written from: `<folder>/<key>/` holds saved_model.pb and entry.json.
 * Entries appear whole, by a rename; who comes second takes the first one's. Everything may be deleted at any time.
 */

/** What is known of one model: its graph's tensors, or why it has none. */
export type GraphEntry =
  | { readonly inputs: readonly SignaturePort[]; readonly outputs: readonly SignaturePort[] }
  | { readonly reason: string }

interface Stored {
  readonly entry: GraphEntry
  /** Of saved_model.pb. */
  readonly sha256: string
}

export function digestOf(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(String(part.length)).update('\0').update(part)
  return hash.digest('hex')
}

/** The entry of `key` and the folder it is in; null where there is none that is whole. */
export function findGraph(folder: string, key: string): { readonly entry: GraphEntry; readonly path: string } | null {
  const path = join(folder, key)
  try {
    const { entry, sha256 } = JSON.parse(readFileSync(join(path, 'entry.json'), 'utf8')) as Stored
    if (digestOf(readFileSync(join(path, 'saved_model.pb'))) !== sha256) return null
    return { entry, path }
  } catch {
    return null
  }
}

/** Keeps a graph; without one (`bytes` empty), the reason for that. Never throws: what cannot be kept is made again. */
export function keepGraph(folder: string, key: string, bytes: Uint8Array, entry: GraphEntry): void {
  const mine = join(folder, `.${key}.${randomUUID()}`)
  const stored: Stored = { entry, sha256: digestOf(bytes) }
  try {
    mkdirSync(mine, { recursive: true })
    writeFileSync(join(mine, 'saved_model.pb'), bytes)
    writeFileSync(join(mine, 'entry.json'), JSON.stringify(stored))
    moveInto(mine, join(folder, key), () => findGraph(folder, key) !== null)
  } catch {
    // A folder that cannot be written to, or a full disk.
    remove(mine)
  }
}

function remove(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true })
  } catch {
    // What cannot be removed was not made.
  }
}

/** By rename, which does not replace a folder that holds something: what is there and broken goes first. */
function moveInto(mine: string, path: string, isWhole: () => boolean): void {
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      return renameSync(mine, path)
    } catch (error) {
      if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
      if (isWhole()) return remove(mine)
      const broken = `${mine}.broken`
      renameSync(path, broken)
      rmSync(broken, { recursive: true, force: true })
    }
  }
}

/** Hands `use` a folder with the graph in it, which is gone afterwards: a loaded graph needs its file no more. */
export function withGraph<T>(bytes: Uint8Array, use: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-graph-'))
  try {
    writeFileSync(join(folder, 'saved_model.pb'), bytes)
    return use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
