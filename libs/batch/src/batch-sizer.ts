/** What a batch costs that its run does not show: two threads are woken for it. */
const overheadUs = 50
/** Twice the rows must bring this much more a second, or they are not worth their latency. */
const gain = 1.1
/** Batches that a size is judged by. */
const trials = 8
/** Batches before the sizes beside the chosen one are tried again: at first, and at most. */
const holdFirst = 256
const holdMost = 8192
/** Part of a request's time that one run may take: it also waits for the run before, and for others. */
const deadlineShare = 1 / 4
/** The finest wait that timers have, and so the least worth choosing. */
const waitLeastUs = 1000

/** Mean time of the batches of one size. */
interface Measured {
  batches: number
  rows: number
  us: number
}

/**
 * How many rows a batch of one version on one device should take, found by trying: twice as many while that brings at
 * least a tenth more rows a second and the run stays within a quarter of the time that requests give; then that size
 * is held, and every so often its neighbours are tried again, since devices are shared and drift. Suits devices whose
 * runs cost much however few the rows (launch-bound), and stops early where rows cost what they cost.
 *
 * A pure policy of numbers: rows, microseconds, and the clock that is handed in.
 */
export class BatchSizer {
  /** Rows that the next batches take at most: a power of two, or all. */
  rows: number
  /** Microseconds that a batch may wait for company while the device is free; 0 unless it is launch-bound and busy. */
  waitUs = 0
  /** By size: what batches of more than half of it, up to it, took. */
  private readonly measured = new Map<number, Measured>()
  private phase: 'up' | 'down' | 'hold' | 'late' = 'up'
  private hold = holdFirst
  private holdLeft = 0
  /** The least time that a request gave, forgotten slowly. */
  private budgetUs = Infinity
  /** Part of the time that the device runs, and rows of a batch, lately. */
  private busy = 0
  private meanRows = 0
  private lastUs = 0

  /** @param rowsMax a batch takes no more */
  constructor(
    private readonly rowsMax: number,
    rowsFirst = 32,
  ) {
    this.rows = Math.min(rowsFirst, rowsMax)
  }

  /** A batch of `rows` rows ran for `runUs` and ended at `nowUs`; its most pressing request gave `budgetUs` in all. */
  observe(rows: number, runUs: number, budgetUs: number, nowUs: number): void {
    this.budgetUs = Math.min(budgetUs, this.budgetUs * 1.01)
    const sinceUs = nowUs - this.lastUs
    this.busy += (Math.min(1, sinceUs > 0 ? runUs / sinceUs : 1) - this.busy) / trials
    this.meanRows += (rows - this.meanRows) / trials
    this.lastUs = nowUs
    // Fewer rows than half of the limit say what few rows cost, not whether the limit is right.
    const size = rows > this.rows / 2 ? this.rows : ceilPowerOfTwo(rows)
    add(this.measured, size, rows, runUs)
    if (size === this.rows) this.judge()
    this.waitUs = this.chooseWait()
  }

  private judge(): void {
    const now = this.measured.get(this.rows)!
    const late = now.us > this.runUsMax
    // Two late runs are enough to act, one may be an accident.
    if (now.batches < (late ? 2 : trials)) return
    if (this.phase === 'late') return this.judgeLate(now, late)
    if (late) return this.shrink('late')
    if (this.phase === 'up') return this.judgeUp(now)
    if (this.phase === 'down') return this.judgeDown(now)
    if (--this.holdLeft > 0) return
    this.shrink('down')
  }

  /** After a step up, or at the start. */
  private judgeUp(now: Measured): void {
    const below = this.measured.get(this.rows / 2)
    if (below !== undefined && below.batches >= trials && rate(now) < gain * rate(below)) {
      this.rows /= 2
      return this.keep()
    }
    const next = Math.min(this.rowsMax, 2 * this.rows)
    // A run of twice the rows takes at most twice as long, unless the device is at an end of some kind.
    if (next === this.rows || (now.us * next) / this.rows > this.runUsMax) return this.keep()
    this.rows = next
    this.measured.delete(next)
  }

  /** After a step down, to see whether as much comes of fewer rows. */
  private judgeDown(now: Measured): void {
    const above = this.measured.get(this.above(this.rows))
    if (above === undefined || gain * rate(now) >= rate(above)) {
      if (this.rows > 1) return this.shrink('down')
      return this.keep()
    }
    this.rows = this.above(this.rows)
    this.measured.delete(this.rows)
    this.phase = 'up'
  }

  /** After a step down because runs took too long: it stays where that helped. */
  private judgeLate(now: Measured, late: boolean): void {
    const above = this.measured.get(this.above(this.rows))
    if (above !== undefined && now.us > 0.9 * above.us) this.rows = this.above(this.rows)
    else if (late) return this.shrink('late')
    this.keep()
  }

  private shrink(phase: 'down' | 'late'): void {
    if (this.rows === 1) return this.keep()
    this.rows = ceilPowerOfTwo(this.rows) / 2
    this.measured.delete(this.rows)
    this.phase = phase
  }

  private keep(): void {
    if (this.phase === 'hold') return
    this.phase = 'hold'
    this.holdLeft = this.hold
    this.hold = Math.min(holdMost, 2 * this.hold)
  }

  private above(rows: number): number {
    return Math.min(this.rowsMax, 2 * rows)
  }

  private get runUsMax(): number {
    return deadlineShare * this.budgetUs
  }

  /** A quarter of what a run costs before its first row, where the device is busy with batches that are far from full. */
  private chooseWait(): number {
    if (this.busy < 0.7 || this.meanRows > this.rows / 2) return 0
    const wait = Math.min(this.fixedUs() / 4, this.runUsMax / 4)
    return wait < waitLeastUs ? 0 : wait
  }

  /** Of the line through the smallest and the largest size that were measured. */
  private fixedUs(): number {
    let least: Measured | undefined
    let most: Measured | undefined
    for (const one of this.measured.values()) {
      if (least === undefined || one.rows < least.rows) least = one
      if (most === undefined || one.rows > most.rows) most = one
    }
    if (least === undefined || most === undefined || most.rows < 2 * least.rows) return 0
    return Math.max(0, (least.us * most.rows - most.us * least.rows) / (most.rows - least.rows))
  }
}

/** The mean of all at first, of the last few later. */
function add(measured: Map<number, Measured>, size: number, rows: number, us: number): void {
  let one = measured.get(size)
  if (one === undefined) measured.set(size, (one = { batches: 0, rows: 0, us: 0 }))
  one.batches++
  const weight = 1 / Math.min(one.batches, 2 * trials)
  one.rows += (rows - one.rows) * weight
  one.us += (us - one.us) * weight
}

/** Rows a microsecond. */
function rate({ rows, us }: Measured): number {
  return rows / (us + overheadUs)
}

function ceilPowerOfTwo(n: number): number {
  return n <= 1 ? 1 : 2 ** Math.ceil(Math.log2(n))
}
