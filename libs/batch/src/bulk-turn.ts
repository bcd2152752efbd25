/** A batch with less than this part of what its queue gathers is not full. */
const fullShare = 1 / 2

/**
 * Whether a batch was one of few rows: more of them could have come with it for nearly nothing. It has less than half of what
 * its queue gathers, and its run cost more for being a run than for its rows.
 *
 * A thread that takes what waits as soon as it is free has batches of as many rows as come during a run. What the rows cost
 * is then the part of the thread's time that they need, and what the run costs beside that is time to spare.
 *
 * @param rowsLimit that its queue gathers
 * @param fixedUs what a run costs however few its rows
 * @param rowUs what each of its rows costs beside that
 */
export function isSmall(rows: number, rowsLimit: number, fixedUs: number, rowUs: number): boolean {
  return rows < fullShare * rowsLimit && rows * rowUs < fixedUs
}

/** Turns in a row that bulk loses at most. */
export const lostMost = 255

/**
 * Whose turn it is on a pool: interactive batches go first, but after one that was small one bulk batch goes. Small batches
 * that follow each other keep a thread busy that has time to spare, and bulk would wait for ever; after a bulk batch, as many
 * interactive rows are together as two batches had. Once interactive batches are full bulk has only what they leave.
 *
 * A deadline may keep batches small where there is no time to spare. So bulk loses its turn while interactive requests are
 * refused for their wait, or late: it yields to them in overload, and has its turns back with the first batch behind
 * which nobody was. Whose deadlines nobody could keep does not have bulk wait for ever: one turn of 256 is not lost.
 *
 * A pure policy of numbers, for each pool its own.
 */
export class BulkTurn {
  /** A bulk batch goes before interactive ones. */
  isDue = false
  private lost = 0

  /** @param pressed interactive requests were refused for their wait, or late, since their batch before */
  tookInteractive(small: boolean, pressed: boolean): void {
    const loses = small && pressed && this.lost < lostMost
    if (loses) this.lost++
    this.isDue = small && !loses
  }

  tookBulk(): void {
    this.isDue = false
    this.lost = 0
  }
}
