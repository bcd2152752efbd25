/** Weight of the newest batch. */
const weight = 1 / 32

/**
 * What a run costs whatever its rows, and each of them beside that: a line through what batches took, those before it
 * forgotten slowly. While all are of one size nobody knows, and what was known last holds; at first that the rows cost
 * nothing, since who takes them for dear has fewer together, and never learns.
 */
export class RunCost {
  fixedUs = 0
  rowUs = 0
  private batches = 0
  private rows = 0
  private us = 0
  private variance = 0
  private covariance = 0
  private cheapestUs = Infinity

  observe(rows: number, runUs: number): void {
    // The first ones count alike, or the very first would count for long.
    const w = Math.max(weight, 1 / ++this.batches)
    const rowsOff = rows - this.rows
    const usOff = runUs - this.us
    this.rows += w * rowsOff
    this.us += w * usOff
    this.variance = (1 - w) * (this.variance + w * rowsOff * rowsOff)
    this.covariance = (1 - w) * (this.covariance + w * rowsOff * usOff)
    // Less than a twentieth apart: how they differ says more of the clock than of the rows.
    if (this.variance > (this.rows / 20) ** 2) this.rowUs = Math.max(0, this.covariance / this.variance)
    // Where time goes by what is in the rows, a line is no more than a guess: none costs more than the cheapest did.
    this.cheapestUs = Math.min(this.cheapestUs * 1.01, runUs / rows)
    this.rowUs = Math.min(this.rowUs, this.cheapestUs)
    this.fixedUs = Math.max(0, this.us - this.rowUs * this.rows)
  }
}
