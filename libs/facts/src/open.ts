import { Code, Refusal } from '@millrace/base'
import { openLmdb, type LmdbOptions } from './lmdb'
import { MemoryStore } from './memory'
import { openRedis, type RedisOptions } from './redis'
import type { FactStore } from './store'

/**
 * Opens facts by where they are: a folder (or `lmdb:<folder>`) for LMDB, `redis://` or `rediss://` (TLS) for Redis and
 * Valkey, `memory:` for an empty store in memory. Ask it after `ready`.
 *
 * @throws Refusal UNIMPLEMENTED for stores that are not in this release
 */
export function openFacts(location: string, options: LmdbOptions & RedisOptions): FactStore {
  const scheme = /^([a-z][a-z0-9+]+):/.exec(location)?.[1]
  if (scheme === undefined) return openLmdb(location, options)
  if (scheme === 'lmdb') return openLmdb(location.slice('lmdb:'.length), options)
  if (scheme === 'redis' || scheme === 'rediss') return openRedis(location, options)
  if (scheme === 'memory') return new MemoryStore()
  throw new Refusal(
    Code.UNIMPLEMENTED,
    `facts at ${scheme}: are not in this release; give a folder for LMDB, redis://host:port, or \`memory:\``,
  )
}

/** The same, when it can be asked: a store that is not there yet is waited for. Rejects with what was wrong last. */
export async function openWhenReady(
  location: string,
  options: LmdbOptions & RedisOptions,
  waitMs: number,
): Promise<FactStore> {
  const store = openFacts(location, options)
  const end = performance.now() + waitMs
  for (;;) {
    try {
      await store.ready()
      return store
    } catch (error) {
      const denied = error instanceof Refusal && error.code === Code.PERMISSION_DENIED
      if (denied || performance.now() > end) {
        await store.close()
        throw error
      }
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}

/** A location as it may be shown: without the password. */
export function shownLocation(location: string): string {
  return location.replace(/^([a-z]+:\/\/)(.*)@/, (_, scheme: string, user: string) => {
    return `${scheme}${user.split(':')[0]!}${user.includes(':') ? ':***' : ''}@`
  })
}
