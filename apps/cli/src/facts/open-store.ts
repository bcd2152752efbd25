import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { openFacts, type FactStore } from '@millrace/facts'
import { repositoryPath } from '../configuration'

export interface StoreOptions {
  readonly repository?: string
  readonly facts?: string
}

export interface OpenedStore {
  /** Null for a reader where there are no facts yet. */
  readonly store: FactStore | null
  /** Its workflows say what tables are for; null where there is none. */
  readonly repository: string | null
}

/** The facts that a command is about: `--facts` before MILLRACE_FACTS before the repository's folder. */
export async function openStore(options: StoreOptions, readOnly: boolean): Promise<OpenedStore> {
  const path = repositoryPath(options.repository)
  const repository = existsSync(path) ? path : null
  const location = options.facts ?? (process.env['MILLRACE_FACTS'] || join(path, 'facts'))
  if (readOnly && !location.includes('://') && !existsSync(join(location, 'data.mdb')))
    return { store: null, repository }
  const store = openFacts(location, { readOnly })
  try {
    await store.ready()
  } catch (error) {
    await store.close()
    throw error
  }
  return { store, repository }
}
