/** Something did not hold that must. */
export class Violation extends Error {
  override readonly name = 'Violation'
}

/**
 * What happened, for people. A seed runs mute first, and is told when it runs again because it failed: what nobody reads
 * is not put into words.
 */
export class Story {
  readonly lines: string[] = []

  tell(nowUs: number, line: string): void {
    this.lines.push(`${(nowUs / 1000).toFixed(3).padStart(12)} ms  ${line}`)
  }
}

/** How often things happened: shows that a simulation comes by what it is meant to. */
export class Tally {
  readonly counts = new Map<string, number>()

  count(what: string, times = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + times)
  }

  add(other: Tally): void {
    for (const [what, times] of other.counts) this.count(what, times)
  }
}
