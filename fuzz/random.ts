const { imul } = Math

/** Numbers of one seed and one stream of it, begun again without allocating: each case has its own stream. Mulberry32. */
export class Random {
  private state = 0

  /** Begins stream `n` of the seed. */
  begin(seed: number, n: number): this {
    // Streams of neighbours must not be shifted copies of each other.
    this.state = imul(imul(n ^ (n / 2 ** 32), 0x85ebca6b) ^ (n >>> 15) ^ seed, 0xc2b2ae35) | 0
    this.u32()
    return this
  }

  u32(): number {
    this.state = (this.state + 0x6d2b79f5) | 0
    const { state } = this
    let t = imul(state ^ (state >>> 15), 1 | state)
    t = (t + imul(t ^ (t >>> 7), 61 | t)) ^ t
    return (t ^ (t >>> 14)) >>> 0
  }

  /** A whole number from 0 to `n` - 1. */
  below(n: number): number {
    return Math.floor((this.u32() / 2 ** 32) * n)
  }

  /** True once in `n` times. */
  once(n: number): boolean {
    return this.below(n) === 0
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32())
  }

  bytes(n: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length: n }, () => this.below(256))
  }

  /** Text of up to `charsMax` characters of one to four bytes each. */
  text(charsMax: number): string {
    return Array.from({ length: this.below(charsMax + 1) }, () => this.pick(letters)).join('')
  }
}

const letters = ['a', 'b', '0', ' ', '"', '\0', 'ü', '中', '🎉', '\u2028']
