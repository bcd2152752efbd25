import type { FactStore } from '@millrace/facts'
import { openLmdb } from '@millrace/facts'
import { Engines } from './engines'
import { loadVersion } from './load'
import { runOffline, type OfflineAnswer, type OfflineOptions } from './offline'
import { readRepository } from './repository'

/**
 * Loads one version of a repository, runs it over the requests and lets it go again.
 *
 * Rejects when there is no such version, when it failed to load (with the reason), and as `runOffline` does.
 */
export async function runRepository(
  folder: string,
  name: string,
  version: number,
  requests: readonly unknown[],
  options: OfflineOptions & { readonly engines?: readonly string[] } = {},
): Promise<OfflineAnswer[]> {
  const repository = readRepository(folder)
  const found = repository.versions.find((other) => other.name === name && other.version === version)
  if (found === undefined) {
    const there = repository.versions.map((other) => `${other.name}@${other.version}`).join(', ') || 'no versions'
    throw new Error(`${repository.path} has no ${name}@${version}; it has ${there}`)
  }
  const engines = new Engines({ threads: 1, device: 'cpu' }, options.engines ?? [])
  const store: FactStore | null = repository.facts === null ? null : openLmdb(repository.facts, { readOnly: true })
  try {
    const loaded = await loadVersion(found, { engines, store, warmMsMax: 0 })
    if (loaded.version === null) throw new Error(`${name}@${version}: ${loaded.description.reason!}`)
    const answers = await runOffline(loaded.version, requests, options)
    loaded.version.dispose()
    return answers
  } finally {
    await engines.dispose()
    await store?.close()
  }
}
