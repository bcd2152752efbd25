import { Buckets, bytesPerRow, latencyBoundsUs, rowBounds, type Arena } from '@millrace/base'
import { BatchQueue, RunCost, Shares } from '@millrace/batch'
import { intakeOf, type Intake } from '@millrace/wire'
import type { VersionDescription } from '@millrace/workflow'
import type { Config } from './config'
import { applyLimits, poolLimit, type PoolLimit } from './pool-limits'
import { firstRows, gatherMs } from './shadow/policy'

/** A workflow version as the front thread knows it: what it takes, where its rows wait, what it took so far. */
export interface ServedVersion {
  readonly description: VersionDescription
  /** `name@version`. */
  readonly label: string
  readonly intake: Intake
  /** Every output is dense: replies come from templates. */
  readonly dense: boolean
  /** By output: bytes of one row, and 1 when it is per request. */
  readonly outputBytes: Int32Array
  readonly outputPerRequest: Uint8Array
  readonly interactive: BatchQueue
  readonly bulk: BatchQueue
  /** Which tenant holds how much of either. */
  readonly interactiveShares: Shares
  readonly bulkShares: Shares
  /** Of a run. */
  readonly cost: RunCost
  /** Of a request, on average. */
  requestRows: number
  /** Microseconds: about how long one tenant makes others wait at most. */
  readonly fairWaitUs: number
  /** Copies of requests that others answer. */
  readonly shadow: BatchQueue
  /** What each pool takes at once that could load it when the lane started. */
  readonly placed: readonly PoolLimit[]
  /** Those of them that serve it now; empty: nobody does. */
  limits: readonly PoolLimit[]
  /** Microseconds, by request; facts and score are those of its batch. */
  readonly totalUs: Buckets
  readonly queueUs: Buckets
  readonly factsUs: Buckets
  readonly scoreUs: Buckets
  readonly batchRows: Buckets
}

/**
 * Only for versions that are ready.
 *
 * @param index the version's place in the repository, which its workers know it by
 * @param pools indexes of the pools that serve it
 */
export function serveVersion(
  description: VersionDescription,
  index: number,
  arena: Arena,
  config: Config,
  pools: readonly number[],
): ServedVersion {
  const { signature } = description
  const queue = (waitUs = description.batchWaitUs): BatchQueue =>
    new BatchQueue(arena, {
      id: index,
      signature,
      rowsMax: Math.min(description.batchRowsMax, config.batchRowsMax),
      queueRowsMax: config.queueRowsMax,
      slabBytesMax: config.slabBytesMax,
      stringBytesPerRow: config.slabStringBytes,
      waitUs,
    })
  const interactive = queue()
  const shadow = queue(gatherMs * 1000)
  shadow.rowsLimit = Math.min(firstRows, shadow.rowsLimit)
  const placed = pools.map((pool) =>
    poolLimit(config.pools[pool]!, pool, interactive.layout.rowsMax, description.batchWaitUs),
  )
  const served: ServedVersion = {
    description,
    label: `${description.name}@${description.version}`,
    intake: intakeOf(signature),
    dense: signature.outputs.every((column) => !column.ragged),
    outputBytes: Int32Array.from(signature.outputs, bytesPerRow),
    outputPerRequest: Uint8Array.from(signature.outputs, (column) => (column.per === 'request' ? 1 : 0)),
    interactive,
    bulk: queue(),
    interactiveShares: new Shares(config.queueRowsMax),
    bulkShares: new Shares(config.queueRowsMax),
    cost: new RunCost(),
    requestRows: 1,
    fairWaitUs: config.fairWaitMs * 1000,
    shadow,
    placed,
    limits: placed,
    totalUs: new Buckets(latencyBoundsUs),
    queueUs: new Buckets(latencyBoundsUs),
    factsUs: new Buckets(latencyBoundsUs),
    scoreUs: new Buckets(latencyBoundsUs),
    batchRows: new Buckets(rowBounds),
  }
  applyLimits(served)
  return served
}
