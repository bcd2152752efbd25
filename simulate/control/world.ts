import { Chance } from '../chance'
import { SimulatedClock } from '../clock'
import { Violation, type Story, type Tally } from '../story'
import type { Plans } from './plan'

/** What everything in a simulation shares. */
export class ControlWorld {
  readonly chance: Chance
  readonly clock: SimulatedClock
  readonly plans: Plans = new Map()
  /** Folders that are new and still being written. */
  readonly halfWritten = new Set<string>()
  /** What did not hold: it may be found where a rejection goes unheard. */
  violation: Violation | null = null

  constructor(
    seed: number,
    readonly tally: Tally,
    private readonly story: Story | null,
  ) {
    this.chance = new Chance(seed)
    this.clock = new SimulatedClock(new Chance(seed + 1), 10)
  }

  tell(line: () => string): void {
    this.story?.tell(this.clock.nowUs(), line())
  }

  broken(what: string): Violation {
    this.violation ??= new Violation(what)
    return this.violation
  }
}
