/**
 * Buckets of tokens, as many as it is asked about, each one number: when it is full again. That is the generic cell rate
 * algorithm (ITU-T I.371): nothing drips, so that a bucket that nobody asks for costs nothing.
 */
export class TokenBuckets {
  /** Between tokens. */
  private readonly intervalUs: number
  /** From empty to full. */
  private readonly burstUs: number
  /** By bucket: since the first one was asked about, so that a fraction of a microsecond is not lost in the digits. */
  private fullUs: Float64Array = new Float64Array(1)
  private firstUs = -1

  /**
   * @param perSecond tokens that drip into each bucket
   * @param burst tokens that it holds, at least one; it is full at first
   */
  constructor(perSecond: number, burst: number) {
    this.intervalUs = 1e6 / perSecond
    this.burstUs = this.intervalUs * Math.max(1, burst)
  }

  /** Whether the bucket has a token. */
  has(bucket: number, nowUs: number): boolean {
    if (this.firstUs < 0) this.firstUs = nowUs
    const left = (this.fullUs[bucket] ?? 0) - (nowUs - this.firstUs)
    // A thousandth: sums of intervals are not exact.
    return left <= this.burstUs - this.intervalUs * (1 - 1e-3)
  }

  /** Takes a token, which `has` said is there. */
  take(bucket: number, nowUs: number): void {
    if (bucket >= this.fullUs.length) {
      const longer = new Float64Array(2 * bucket)
      longer.set(this.fullUs)
      this.fullUs = longer
    }
    this.fullUs[bucket] = Math.max(this.fullUs[bucket]!, nowUs - this.firstUs) + this.intervalUs
  }
}
