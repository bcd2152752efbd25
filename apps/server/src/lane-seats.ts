import { affinityOf, sitters, threadsOf } from '@millrace/pool'
import type { LaneParts } from './lane'

/** CPUs that the configuration gives a thread (empty: any), and those that the kernel lets it run on. */
export interface Seated {
  /** The kernel's id of the thread; 0 when there is none. */
  readonly tid: number
  readonly given: readonly number[]
  /** Null where it cannot be read. */
  readonly actual: readonly number[] | null
}

export interface LaneSeats {
  readonly lane: number
  readonly pid: number
  readonly front: Seated
  readonly pools: readonly { readonly name: string; readonly device: string; readonly threads: readonly Seated[] }[]
  /** Every other thread of the process: those of engines, of Node and of V8. */
  readonly others: readonly Seated[]
}

/** Asks the kernel about every thread of this process. */
export function seatsOf({ index, config, pools }: Pick<LaneParts, 'index' | 'config' | 'pools'>): LaneSeats {
  const { cpus, front, pools: given } = config.seating.lanes[index]!
  const seated = (tid: number, given: readonly number[]): Seated => ({
    tid,
    given,
    actual: tid === 0 ? null : affinityOf(process.pid, tid),
  })
  const named = new Set([process.pid])
  return {
    lane: index,
    pid: process.pid,
    front: seated(process.pid, front),
    pools: pools.map(({ pool, device, seats }, p) => ({
      name: pool.name,
      device,
      threads: sitters(seats).map((tid, t) => {
        named.add(tid)
        return seated(tid, given[p]![t]!)
      }),
    })),
    others: threadsOf(process.pid)
      .filter((tid) => !named.has(tid))
      .map((tid) => seated(tid, cpus)),
  }
}
