import type { Clock } from '@millrace/base'
import type { Chance } from './chance'

interface Event {
  readonly us: number
  readonly order: number
  readonly work: () => void
}

/** When simulations begin; ms since 1970. */
const begunMs = Date.UTC(2026, 0, 1)

/** Time that passes when it is told to: an event loop whose turns are decided by chance. */
export class SimulatedClock implements Clock {
  private us = 0
  private order = 0
  /** The next one last. */
  private readonly events: Event[] = []
  private deferred: (() => void)[] = []

  constructor(
    private readonly chance: Chance,
    /** Microseconds that the work of one event takes, at most. */
    private readonly workUsMax: number,
  ) {}

  nowUs(): number {
    return this.us
  }

  nowMs(): number {
    return begunMs + this.us / 1000
  }

  after(ms: number, work: () => void): () => void {
    return this.at(this.us + 1000 * ms, work)
  }

  every(ms: number, work: () => void): () => void {
    let cancel!: () => void
    const next = (): void => {
      cancel = this.after(ms, () => {
        work()
        next()
      })
    }
    next()
    return () => cancel()
  }

  defer(work: () => void): void {
    this.deferred.push(work)
  }

  /** Something waits for the end of this turn. */
  get isDeferring(): boolean {
    return this.deferred.length > 0
  }

  /** Runs `work` at a time; what this returns has it not run. */
  at(us: number, work: () => void): () => void {
    const event = { us, order: this.order++, work }
    const { events } = this
    let place = events.length
    while (place > 0 && isBefore(events[place - 1]!, event)) place--
    events.splice(place, 0, event)
    return () => {
      const at = events.indexOf(event)
      if (at >= 0) events.splice(at, 1)
    }
  }

  /** One turn of the event loop: events that are due, all or some of them, then what was deferred before. */
  turn(): void {
    const { events } = this
    if (this.deferred.length === 0 && events.length > 0) this.us = Math.max(this.us, events.at(-1)!.us)
    const deferred = this.deferred
    this.deferred = []
    while (events.length > 0 && events.at(-1)!.us <= this.us) {
      this.run(events.pop()!.work)
      if (this.chance.holds(0.3)) break
    }
    // Those that its events deferred are of this turn as well.
    deferred.push(...this.deferred)
    this.deferred = []
    for (const work of deferred) this.run(work)
  }

  private run(work: () => void): void {
    work()
    this.us += this.chance.whole(0, this.workUsMax)
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.us < b.us || (a.us === b.us && a.order < b.order)
}
