/** Weight of what a batch shows, against all before it. */
const weight = 1 / 16
/** Times the mean: what is beyond it strays. */
const strayMost = 4
/** Of the largest miss that is kept in mind, what is left of it a batch later; and after how long half of it at most. */
const missKept = 0.99
const missHalfUs = 400_000

/**
 * How long it will take until a row that comes now is answered, by what the batches of its queue took lately:
 *
 *     one turn to turn, since what the threads have now is as large as what they mostly have
 *       + what the batches before its own cost x turn to turn, as part of that
 *       + what its own costs, and what passes from a turn to answers beside the run
 *
 * where a batch costs its thread a + b x rows, the line through what was seen. Everything that shares the threads is in the
 * two times: other versions, other priorities, several threads and pools, batches at the door of a thread. Its own batch
 * counts once and by its rows: after a stall of the machine it is far larger than those before it were. Rows that
 * nobody waited for any more when their turn came count for nothing. What it does not know it takes for free: one that is
 * let in on such a guess costs little, and shows what is true.
 *
 * A pure policy of numbers: rows and microseconds, of whatever clock.
 */
export class PredictedWait {
  private readonly cost = new Line()
  /** Means of what a batch costs its thread, of the time from one turn to the next while batches wait, of that from a turn to answers. */
  private readonly runUs = new Mean()
  private readonly turnUs = new Mean()
  private readonly answerUs = new Mean()
  private lastTurnUs = 0
  /** How late answers came that were predicted; the most, forgotten slowly. And when the last one came. */
  private missUs = 0
  private lastAnswerUs = 0

  /** A batch that was opened at `openedUs` goes to a thread at `nowUs`. */
  turn(openedUs: number, nowUs: number): void {
    // It did not wait: that says nothing of what a turn takes.
    if (nowUs > openedUs) this.turnUs.add(nowUs - Math.max(openedUs, this.lastTurnUs))
    this.lastTurnUs = nowUs
  }

  /**
   * A batch was answered.
   *
   * @param runUs what it cost its thread
   * @param predictedUs what its first row was told
   */
  answered(rows: number, openedUs: number, turnUs: number, runUs: number, predictedUs: number, nowUs: number): void {
    this.cost.add(rows, runUs)
    this.runUs.add(runUs)
    this.answerUs.add(nowUs - turnUs)
    // By time as well: of long runs a hundred are seconds, in which what is kept free for a miss refuses others.
    const kept = Math.min(missKept, 2 ** ((this.lastAnswerUs - nowUs) / missHalfUs))
    this.missUs = Math.max(kept * this.missUs, nowUs - openedUs - predictedUs)
    this.lastAnswerUs = nowUs
  }

  /**
   * Microseconds to the answer of a row, on average.
   *
   * @param batches whose turn comes before its own does or with it
   * @param rows of these
   * @param ownRows of its own batch
   * @param oldestUs when the first of them was opened
   */
  predictUs(batches: number, rows: number, ownRows: number, oldestUs: number, nowUs: number): number {
    const runUs = this.runUs.value
    if (runUs === 0) return 0
    const { cost } = this
    const turns = this.turnUs.value * (1 + cost.of(batches - 1, rows - ownRows) / runUs)
    // A turn that is overdue is not over sooner than now.
    const overdue = Math.max(0, nowUs - Math.max(oldestUs, this.lastTurnUs) - turns / batches)
    return turns + overdue + cost.of(1, ownRows) + Math.max(0, this.answerUs.value - runUs)
  }

  /** What a batch costs its thread however few its rows, and what each of them costs, microseconds; 0 while nothing is known. */
  get fixedUs(): number {
    return this.cost.fixed
  }

  get rowUs(): number {
    return this.cost.each
  }

  /** What is kept free of a budget because predictions miss; at most half of it, so that some are always let in. */
  slackUs(budgetUs: number): number {
    return Math.min(this.missUs, budgetUs / 2)
  }
}

/**
 * The mean of all at first, of the last few later. One that strays far above it counts only with another beside it: a
 * machine that stalls once says nothing of the time to come, one that is slow from now on says it twice.
 */
class Mean {
  value = 0
  private seen = 0
  private last = Infinity

  add(value: number): void {
    this.seen++
    const counted = Math.min(value, Math.max(this.last, strayMost * this.value))
    this.last = value
    this.value += (counted - this.value) * Math.max(weight, 1 / this.seen)
  }
}

/** The line through what batches cost, by their rows: least squares, of the last few. */
class Line {
  private readonly x = new Mean()
  private readonly y = new Mean()
  private readonly xx = new Mean()
  private readonly xy = new Mean()
  /** Of a batch however few its rows, and of each row. */
  fixed = 0
  each = 0

  add(rows: number, us: number): void {
    const { x, y, xx, xy } = this
    x.add(rows)
    y.add(us)
    xx.add(rows * rows)
    xy.add(rows * us)
    const spread = xx.value - x.value * x.value
    // All of one size: nothing is known of what a row costs.
    const slope = spread > 1e-3 * xx.value ? (xy.value - x.value * y.value) / spread : 0
    this.each = Math.min(Math.max(0, slope), y.value / x.value)
    this.fixed = y.value - this.each * x.value
  }

  /** Of so many batches with so many rows in all. */
  of(batches: number, rows: number): number {
    return this.fixed * batches + this.each * rows
  }
}
