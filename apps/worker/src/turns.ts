/**
 * One thing at a time, in the order in which they came: engines and model inputs belong to the batch that runs, or to the
 * step of a load. A second batch in flight waits here, already on this thread, so that nobody has to be woken between
 * the two.
 */
export class Turns {
  private taken = 0
  private last: Promise<unknown> = Promise.resolve()
  private readonly leave = (): void => {
    this.taken--
  }

  /** What nobody is before begins at once. */
  take<T>(work: () => Promise<T>): Promise<T> {
    const done = this.taken++ === 0 ? work() : this.last.then(work)
    this.last = done.then(this.leave, this.leave)
    return done
  }
}
