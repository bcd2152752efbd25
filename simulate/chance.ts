import { seededRandom } from '@millrace/base'

/** What happens by chance, the same for the same seed. */
export class Chance {
  /** In [0, 1). */
  readonly next: () => number

  constructor(seed: number) {
    this.next = seededRandom(seed)
    // Neighbouring seeds begin alike.
    for (let i = 0; i < 4; i++) this.next()
  }

  holds(probability: number): boolean {
    return this.next() < probability
  }

  /** A whole number, `from` to `to`, both included. */
  whole(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1))
  }

  /** `from` to `to`, as likely in each of its orders of magnitude. */
  spread(from: number, to: number): number {
    return from * Math.pow(to / from, this.next())
  }

  pick<T>(values: readonly T[]): T {
    return values[this.whole(0, values.length - 1)]!
  }

  /** In an order of its own. */
  shuffled<T>(values: readonly T[]): T[] {
    const left = [...values]
    return values.map(() => left.splice(this.whole(0, left.length - 1), 1)[0]!)
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    let state = this.whole(0, 2 ** 31)
    for (let i = 0; i < length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0
      bytes[i] = state >>> 24
    }
    return bytes
  }

  /** Text of up to `lengthMax` characters, of one to four bytes each. */
  text(lengthMax: number): string {
    return Array.from({ length: this.whole(0, lengthMax) }, () => this.pick(['a', 'b', 'ü', '中', '🎉', ' '])).join('')
  }
}
