import { Code } from '@millrace/base'
import type { Connection, Listener } from './connection'
import type { Frames } from './frames'
import type { Tally } from './tally'

/**
 * Each connection keeps its requests in flight: a reply is answered by sending the next request. For throughput and cost;
 * its latencies are what a client with so many requests in flight sees.
 *
 * A connection has slots `0 .. inFlight - 1`. The frames are `inFlight` for a round after the other; the one after frame f
 * is f + inFlight, in the same slot. A run of replies is answered by one write, since frames lie end to end.
 */
export class ClosedLoop implements Listener {
  private readonly sentMs: Float64Array[] = []
  /** Over HTTP: the frame that is in flight. */
  private readonly current: number[] = []
  /** The run of consecutive requests that is being answered. */
  private first = -1
  private last = -1

  /** @param inFlight divides the number of frames */
  constructor(
    private readonly frames: Frames,
    private readonly inFlight: number,
    private readonly byId: boolean,
    private readonly tally: Tally,
  ) {}

  /** Sends the first requests of a connection. */
  begin(connection: Connection, nowMs: number): void {
    const { frames, inFlight } = this
    const first = (connection.index * inFlight) % frames.count
    this.sentMs[connection.index] = new Float64Array(inFlight).fill(nowMs)
    this.current[connection.index] = first
    connection.send(frames.run(first, first + inFlight - 1))
  }

  replied(connection: Connection, id: number, code: number, nowMs: number): void {
    const frame = this.byId ? id - 1 : this.current[connection.index]!
    if (code !== Code.OK) this.tally.bad(code)
    if (frame !== this.last + 1 || this.first < 0 || code !== Code.OK) this.again(connection, nowMs)
    if (this.first < 0) this.first = frame
    this.last = frame
    // Not good: it is counted already, and sent again by itself.
    if (code !== Code.OK) this.again(connection, nowMs, false)
  }

  read(connection: Connection, nowMs: number): void {
    this.again(connection, nowMs)
  }

  /** Requests `first .. last` were answered: counts them and sends those that follow them. */
  private again(connection: Connection, nowMs: number, good = true): void {
    const { first, last, frames, inFlight } = this
    if (first < 0) return
    this.first = this.last = -1
    const sentMs = this.sentMs[connection.index]!
    for (let i = first; i <= last; ) {
      const sent = sentMs[i % inFlight]!
      const begin = i
      while (i <= last && sentMs[i % inFlight] === sent) i++
      if (good) this.tally.good((nowMs - sent) * 1000, i - begin)
    }
    for (let i = first; i <= last; i++) sentMs[i % inFlight] = nowMs
    const next = (first + inFlight) % frames.count
    const ends = Math.min(next + last - first, frames.count - 1)
    this.current[connection.index] = next
    connection.send(frames.run(next, ends))
    if (ends - next < last - first) connection.send(frames.run(0, last - first - (ends - next) - 1))
  }
}
