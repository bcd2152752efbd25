const firstWaitUs = 10e6
const longestWaitUs = 600e6

/**
 * How many rows of a version fit the memory of a device, learnt from batches that did not: half of what was too large,
 * and twice as many again after a while, since what else was in the memory may be gone. The while doubles, from 10 s to
 * 10 min, each time that more proves to be too large again. A row that is too large alone says nothing of the others:
 * the limit is then what it was. A pure policy: time is handed in.
 */
export class FittingRows {
  /** Rows to run at once at most; Infinity while all fit. */
  limit = Infinity
  /** Runs that did not fit. */
  failures = 0
  private waitUs = firstWaitUs
  private growAtUs = 0
  /** The limit before it was raised, until more than that was seen to fit; else Infinity. */
  private provenRows = Infinity
  /** The limit before the failures that no fitting run has followed yet; 0 when there are none. */
  private limitBefore = 0
  private rowFailed = false

  /** @param rowsMax what a batch takes at most: a limit that reaches it is none */
  constructor(private readonly rowsMax: number) {}

  /** A run of `rows` rows ran out of memory. */
  failed(rows: number, nowUs: number): void {
    this.failures++
    if (this.limitBefore === 0) this.limitBefore = this.limit
    this.rowFailed = rows === 1
    this.limit = Math.max(1, Math.min(this.limit, rows >>> 1))
    if (this.provenRows !== Infinity) this.waitUs = Math.min(longestWaitUs, 2 * this.waitUs)
    this.provenRows = Infinity
    this.growAtUs = nowUs + this.waitUs
  }

  /** A run of `rows` rows fitted. */
  fitted(rows: number): void {
    if (this.rowFailed) this.limit = this.limitBefore
    this.rowFailed = false
    this.limitBefore = 0
    if (rows <= this.provenRows) return
    this.provenRows = Infinity
    this.waitUs = firstWaitUs
  }

  /** The limit, raised when it is time to try. */
  at(nowUs: number): number {
    if (this.limit !== Infinity && nowUs >= this.growAtUs) {
      this.provenRows = Math.min(this.provenRows, this.limit)
      this.limit = 2 * this.limit >= this.rowsMax ? Infinity : 2 * this.limit
      this.growAtUs = nowUs + this.waitUs
    }
    return this.limit
  }
}
