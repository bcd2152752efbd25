import type { LaneVersion, Road } from '@millrace/server/in-process'
import { Violation, type Tally } from '../story'

type Target = Road['answers']['mapping']['targets'][number]
type ShadowTally = Road['tallies']['all'][number]

/** Whoever copies of a lane's requests went to, under any rules. */
export class Copied {
  private readonly targets = new Set<Target>()
  /** Both sides compute the same, whenever it was counted there. */
  private readonly twins = new Map<ShadowTally, boolean>()

  /** @param isTwin whether two versions compute the same */
  constructor(private readonly isTwin: (one: LaneVersion, other: LaneVersion) => boolean) {}

  /** Copies that are neither compared nor dropped. */
  get held(): number {
    return [...this.targets].reduce((sum, { copies }) => sum + copies, 0)
  }

  /** These are copied to from here on. */
  map(targets: readonly Target[]): void {
    for (const target of targets) {
      this.targets.add(target)
      for (const { tally, primary, copy } of target.pairs.values())
        this.twins.set(tally, this.isTwin(primary, copy) && this.twins.get(tally) !== false)
    }
  }

  /** What was compared of versions that compute the same does not differ. */
  checkEnd(happened: Tally): void {
    for (const [{ label, outputs }, areTwins] of this.twins) {
      if (!areTwins) continue
      for (const [name, { values, beyond }] of outputs) {
        happened.count('values of copies that must not differ', values)
        if (beyond > 0)
          throw new Violation(
            `${beyond} values of ${name} are others than those of ${label.primary}, which computes the same`,
          )
      }
    }
  }
}
