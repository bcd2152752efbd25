/** What a watchdog looks at. */
export interface Watched {
  /** Changes with every batch that begins or ends; odd while one runs. */
  turns(): number
}

/**
 * Finds the threads on which one batch runs for too long. It asks now and then and hands in when: a batch is seen for the
 * first time up to one such interval after it began, and is never given less than its time.
 */
export class Watchdog<T extends Watched> {
  private readonly seen = new Map<T, { turns: number; sinceMs: number; over: boolean }>()

  constructor(private readonly timeoutMs: number) {}

  /** Threads whose batch is over time for the first time now, and those that went on after that. */
  look(threads: Iterable<T>, nowMs: number): { readonly over: T[]; readonly again: T[] } {
    const over: T[] = []
    const again: T[] = []
    const there = new Set(threads)
    for (const one of this.seen.keys()) if (!there.has(one)) this.seen.delete(one)
    for (const one of there) {
      const turns = one.turns()
      const before = this.seen.get(one)
      if (before?.turns !== turns) {
        if (before?.over === true) again.push(one)
        this.seen.set(one, { turns, sinceMs: nowMs, over: false })
      } else if (turns % 2 === 1 && !before.over && nowMs - before.sinceMs > this.timeoutMs) {
        before.over = true
        over.push(one)
      }
    }
    return { over, again }
  }
}
