import { calmRows, Header, type Batch } from '@millrace/batch'
import type { Principal } from './principal'
import type { ServedVersion } from './served-version'
import { noTenant } from './tenant-counts'

/*
 * What one tenant may hold of a version that others ask for too. Tenants are those that proved who they are; all others are
 * one together, or whoever makes names up would have as many parts.
 */

/** Whose rows they are. */
export function holderOf(who: Principal, tenant: number): number {
  return who.tenant === '' ? noTenant : tenant
}

/** Weight of the newest batch. */
const weight = 1 / 32

/**
 * Takes note of what a batch took: of a version there is room for what waits where a device is busy and nobody asks for
 * more than it can do, and for no more than it serves in `MILLRACE_FAIR_WAIT_MS`, so that nobody waits for much longer
 * behind others. Who asks for bulk waits anyway, for as many rows as its queue takes.
 *
 * @param words of the arena
 * @param threads that run it
 */
export function observeRoom(version: ServedVersion, batch: Batch, words: Uint32Array, threads: number): void {
  const { interactive, interactiveShares, cost, fairWaitUs } = version
  cost.observe(batch.rows, words[(batch.offset >>> 2) + Header.runUs]!)
  version.requestRows += weight * (batch.rows / batch.requests - version.requestRows)
  const rows = calmRows(cost, threads, interactive.rowsLimit, version.requestRows, fairWaitUs)
  interactiveShares.room = Math.min(interactive.queueRowsMax, rows)
}
