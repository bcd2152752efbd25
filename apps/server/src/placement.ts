import type { VersionDescription, VersionState } from '@millrace/workflow'
import type { PoolConfig } from './config'

/** How a version stands on one pool. `found`: nobody has begun with it, the pool does not take it, or leaves it to others. */
export interface PoolState {
  readonly pool: string
  readonly device: string
  readonly state: VersionState
  /** When it entered that state; ISO 8601. */
  readonly since: string
  /** Why it failed or why the pool does not take it; else null. */
  readonly reason: string | null
}

/** Where a version is served, once every pool that takes it has loaded it or failed to. */
export interface Placed {
  /** As the first pool has it where it is ready; else why nobody does. */
  readonly description: VersionDescription
  /** By pool. */
  readonly pools: readonly { readonly state: 'ready' | 'failed' | 'found'; readonly reason: string | null }[]
}

/**
 * Which pools serve a version. One that fails on one pool is served by the others; one without a model has nothing to do
 * on a GPU, and is left to the CPUs where they have it.
 *
 * @param loaded by pool; `found` where the pool does not take it
 */
export function place(configs: readonly PoolConfig[], loaded: readonly VersionDescription[]): Placed {
  const onCpu = loaded.some(({ state }, p) => state === 'ready' && isCpu(configs[p]!))
  const pools = configs.map((config, p): Placed['pools'][number] => {
    const { state, reason, models } = loaded[p]!
    if (state === 'ready' && models.length === 0 && onCpu && !isCpu(config))
      return { state: 'found', reason: 'it has no model, so it runs on CPUs' }
    return { state: state === 'ready' || state === 'found' ? state : 'failed', reason }
  })
  return { description: whole(loaded, pools), pools }
}

/** As the first pool has it where it is ready; else as the first where it failed; else nobody takes it, which is a failure. */
function whole(loaded: readonly VersionDescription[], pools: Placed['pools']): VersionDescription {
  const ready = pools.findIndex(({ state }) => state === 'ready')
  if (ready >= 0) return loaded[ready]!
  const failed = loaded.find(({ state }) => state === 'failed')
  if (failed !== undefined) return failed
  return { ...loaded[0]!, state: 'failed', reason: 'no pool takes it: see MILLRACE_POOL_<NAME>_WORKFLOWS' }
}

function isCpu({ device }: PoolConfig): boolean {
  return device.startsWith('cpu')
}
