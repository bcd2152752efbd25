import { seededRandom } from '@millrace/base'

/** Uniform numbers of one seed, which is printed: `TEST_SEED` repeats a run. */
export class Random {
  readonly seed = Number(process.env['TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 32)) >>> 0

  constructor() {
    process.stderr.write(`seed ${this.seed}\n`)
  }

  /** In [0, 1). */
  readonly next = seededRandom(this.seed)

  /** A whole number, `from` to `to`, both included. */
  whole(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1))
  }

  pick<T>(values: readonly T[]): T {
    return values[this.whole(0, values.length - 1)]!
  }

  /** Text of up to `lengthMax` characters, of one to four bytes each. */
  text(lengthMax: number): string {
    return Array.from({ length: this.whole(0, lengthMax) }, () => this.pick(['a', 'b', 'ü', '中', '🎉', ' '])).join('')
  }

  u64(): bigint {
    return (BigInt(this.whole(0, 2 ** 32 - 1)) << 32n) | BigInt(this.whole(0, 2 ** 32 - 1))
  }
}
