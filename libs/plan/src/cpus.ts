import { EventHeap } from './event-heap'
import type { SimLane, SimThread } from './sim-lane'

const { max, min } = Math

/**
 * The CPUs of lanes and the clock of a simulation. Where a lane's busy threads are more than its CPUs each has an equal
 * share of them: processor sharing, which is what the kernel's fair scheduler comes to over more than its turns.
 */
export class Cpus {
  now = 0
  readonly events = new EventHeap()

  /** Has a thread that sleeps look for work in `afterUs`. */
  wake(thread: SimThread, afterUs: number): void {
    const atUs = this.now + afterUs
    if (thread.busy || (thread.waking && thread.wakesUs <= atUs)) return
    thread.waking = true
    thread.wakesUs = atUs
    this.events.push(atUs, thread.index, ++thread.stamp)
  }

  /** `us` of CPU from now on. */
  work(thread: SimThread, us: number): void {
    const { lane } = thread
    thread.busy = true
    thread.waking = false
    thread.left = us
    thread.since = this.now
    // A load that stays awake while it waits has its share already.
    if (!thread.spins) lane.running++
    if (lane.running > lane.model.cores) this.share(lane)
    else this.plan(thread, lane.speed)
  }

  stop(thread: SimThread): void {
    const { lane } = thread
    thread.busy = false
    if (!thread.spins) lane.running--
    if (lane.speed < 1) this.share(lane)
  }

  /** So many threads of others want a CPU of the lane, until it is said again. */
  others(lane: SimLane, count: number): void {
    lane.running += count - lane.others
    lane.others = count
    this.share(lane)
  }

  private share(lane: SimLane): void {
    const before = lane.speed
    lane.speed = min(1, lane.model.cores / lane.running)
    for (const thread of lane.threads) {
      if (!thread.busy) continue
      thread.left = max(0, thread.left - (this.now - thread.since) * before)
      thread.since = this.now
      this.plan(thread, lane.speed)
    }
  }

  private plan(thread: SimThread, speed: number): void {
    this.events.push(this.now + thread.left / speed, thread.index, ++thread.stamp)
  }
}
