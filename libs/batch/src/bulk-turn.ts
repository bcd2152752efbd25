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

/**
 * Whose turn it is on a pool: interactive batches go first, but after one that was small one bulk batch goes. Small batches
 * that follow each other keep a thread busy that has time to spare, and bulk would wait for ever; after a bulk batch, as many
 * interactive rows are together as two batches had. Once interactive batches are full bulk has only what they leave.
 *
 * A pure policy of numbers, for each pool its own.
 */
export class BulkTurn {
  /** A bulk batch goes before interactive ones. */
  isDue = false

  tookInteractive(small: boolean): void {
    this.isDue = small
  }

  tookBulk(): void {
    this.isDue = false
  }
}
