import type { VersionDescription } from '@millrace/workflow'
import type { ThreadDescription } from '@millrace/worker'
import type { PoolConfig } from './config'

/** What became of a version on one pool. `found`: the pool does not take it, or leaves it to others. */
export interface PoolState {
  readonly pool: string
  readonly device: string
  readonly state: 'ready' | 'failed' | 'found'
  /** Null when it is ready. */
  readonly reason: string | null
}

/** A version as a lane serves it: ready when one pool is enough. */
export interface PlacedDescription extends VersionDescription {
  readonly pools: readonly PoolState[]
}

/**
 * Which pools serve which version. A version that fails on one pool is served by the others; one without a model has
 * nothing to do on a GPU, and is left to the CPUs where they have it.
 *
 * @param described by pool and thread
 */
export function place(
  configs: readonly PoolConfig[],
  described: readonly (readonly ThreadDescription[])[],
): PlacedDescription[] {
  return described[0]![0]!.versions.map((_, v) => {
    const loaded = described.map((threads) => worst(threads, v))
    const onCpu = loaded.some(({ state }, p) => state === 'ready' && isCpu(configs[p]!))
    const pools = configs.map(({ name: pool, device }, p): PoolState => {
      const { state, reason, models } = loaded[p]!
      if (state === 'ready' && models.length === 0 && onCpu && !isCpu(configs[p]!))
        return { pool, device, state: 'found', reason: 'it has no model, so it runs on CPUs' }
      return { pool, device, state: state === 'ready' ? 'ready' : state === 'found' ? 'found' : 'failed', reason }
    })
    return { ...whole(loaded, pools), pools }
  })
}

/** Of a pool's threads, the one that has least of it. */
function worst(threads: readonly ThreadDescription[], v: number): VersionDescription {
  const versions = threads.map((thread) => thread.versions[v]!)
  return versions.find(({ state }) => state !== 'ready') ?? versions[0]!
}

/** As the first pool has it where it is ready; else as the first where it failed; else nobody takes it, which is a failure. */
function whole(loaded: readonly VersionDescription[], pools: readonly PoolState[]): VersionDescription {
  const ready = pools.findIndex(({ state }) => state === 'ready')
  if (ready >= 0) return loaded[ready]!
  const failed = loaded.find(({ state }) => state === 'failed')
  if (failed !== undefined) return failed
  return { ...loaded[0]!, state: 'failed', reason: 'no pool takes it: see MILLRACE_POOL_<NAME>_WORKFLOWS' }
}

function isCpu({ device }: PoolConfig): boolean {
  return device.startsWith('cpu')
}
