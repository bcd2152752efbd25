import { Code, Refusal } from '@millrace/base'
import { openLmdb, type LmdbOptions } from './lmdb'
import { MemoryStore } from './memory'
import type { FactStore } from './store'

/**
 * Opens facts by where they are: a folder (or `lmdb:<folder>`) for LMDB, `memory:` for an empty store in memory.
 *
 * @throws Refusal UNIMPLEMENTED for stores that are not in this release
 */
export function openFacts(location: string, options: LmdbOptions): FactStore {
  const scheme = /^([a-z][a-z0-9+]+):/.exec(location)?.[1]
  if (scheme === undefined) return openLmdb(location, options)
  if (scheme === 'lmdb') return openLmdb(location.slice('lmdb:'.length), options)
  if (scheme === 'memory') return new MemoryStore()
  throw new Refusal(
    Code.UNIMPLEMENTED,
    `facts at ${scheme}: are not in this release; give a folder for LMDB, or \`memory:\``,
  )
}
