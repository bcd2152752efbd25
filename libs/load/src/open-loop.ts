import { Code, pace, type Pace } from '@millrace/base'
import { build } from 'hdr-histogram-js'
import { performance } from 'node:perf_hooks'
import type { Connection, Listener } from './connection'
import type { Frames } from './frames'
import type { Tally } from './tally'

/** Requests that wait for a place before the load is given up: the server is far behind. */
const waitingMax = 1_000_000

/**
 * Requests arrive by a schedule, whatever became of those before, and their times count from when they were due: a stall is
 * seen by all that arrived during it. Where every place of every connection is taken they wait here, and that counts too.
 */
export class OpenLoop implements Listener {
  /** How late arrivals were noticed, microseconds: the generator's own share of what it measures. */
  readonly late = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 60_000_000,
    numberOfSignificantValueDigits: 3,
  })
  /** When what is in flight was due, by connection and place. */
  private readonly dueMs: Float64Array[]
  /** Places that are free, a ring: the one that was free longest is next, so that connections take turns. */
  private readonly free: Int32Array
  private freeAt = 0
  private freeCount: number
  /** Those that wait: when they were due, and their frame. */
  private waiting: { readonly dueMs: number; readonly frame: number }[] = []
  private waitingFrom = 0
  private frame: number
  private readonly step: number

  /** @param step from one arrival's frame to the next: processes share the frames in turns */
  constructor(
    private readonly frames: Frames,
    private readonly connections: readonly Connection[],
    places: number,
    private readonly byId: boolean,
    private readonly tally: Tally,
    { first, step }: { readonly first: number; readonly step: number },
    private readonly failed: (error: Error) => void,
  ) {
    this.dueMs = connections.map(() => new Float64Array(places))
    // Connections in turns, before a second request is on any of them.
    this.free = Int32Array.from({ length: connections.length * places }, (_, i) => i)
    this.freeCount = this.free.length
    this.frame = first % frames.count
    this.step = step % frames.count
  }

  /** Those that are due and wait for a place. */
  get unsent(): number {
    return this.waiting.length - this.waitingFrom
  }

  begin(next: () => number, napMs: number): Pace {
    return pace(next, (dueMs) => this.arrive(dueMs), { napMs })
  }

  replied(connection: Connection, id: number, code: number, nowMs: number): void {
    const { index } = connection
    const place = this.byId ? id - 1 : 0
    const dueMs = this.dueMs[index]![place]!
    if (code === Code.OK) this.tally.good((nowMs - dueMs) * 1000, 1)
    else this.tally.bad(code)
    const next = this.waiting[this.waitingFrom]
    if (next === undefined) {
      const { free } = this
      free[(this.freeAt + this.freeCount++) % free.length] = place * this.connections.length + index
    } else {
      if (++this.waitingFrom === 10_000) {
        this.waiting = this.waiting.slice(this.waitingFrom)
        this.waitingFrom = 0
      }
      this.send(index, place, next.dueMs, next.frame)
    }
  }

  read(): void {
    // Each reply is dealt with as it comes.
  }

  private arrive(dueMs: number): void {
    this.late.recordValue(Math.round((performance.now() - dueMs) * 1000))
    const { frame } = this
    this.frame = (frame + this.step) % this.frames.count
    if (this.freeCount > 0) {
      const free = this.free[this.freeAt]!
      this.freeAt = (this.freeAt + 1) % this.free.length
      this.freeCount--
      return this.send(free % this.connections.length, Math.floor(free / this.connections.length), dueMs, frame)
    }
    if (this.waiting.length - this.waitingFrom >= waitingMax)
      return this.failed(new Error(`${waitingMax} requests wait to be sent: the server is far behind this load`))
    this.waiting.push({ dueMs, frame })
  }

  private send(index: number, place: number, dueMs: number, frame: number): void {
    this.dueMs[index]![place] = dueMs
    this.connections[index]!.send(this.byId ? this.frames.withId(frame, place + 1) : this.frames.run(frame, frame))
  }
}
