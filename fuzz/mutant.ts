import { Joint } from './anatomy'
import type { Random } from './random'

/** A message and where its joints are. */
export interface Sample {
  readonly bytes: Uint8Array
  readonly joints: readonly (readonly number[])[]
}

const kinds = Object.values(Joint)

/** Messages that somebody broke, one after the other in the same memory. */
export class Mutant {
  readonly bytes: Uint8Array<ArrayBuffer>
  length = 0
  private readonly view: DataView

  constructor(
    readonly bytesMax: number,
    private readonly random: Random,
  ) {
    this.bytes = new Uint8Array(bytesMax)
    this.view = new DataView(this.bytes.buffer)
  }

  /** Becomes the sample, broken `times` times; parts of `other` may come into it. */
  become(sample: Sample, other: Sample, times: number): void {
    this.bytes.set(sample.bytes)
    this.length = sample.bytes.length
    for (let i = 0; i < times; i++) this.break(sample, other)
  }

  private break(sample: Sample, other: Sample): void {
    const { random } = this
    if (this.length < 4) return this.grow()
    switch (random.below(16)) {
      case 0:
        return this.truncate()
      case 1:
        return this.grow()
      case 2:
        return this.flip()
      case 3:
        return this.splice(other)
      case 4:
        return this.graft(other)
      case 5:
        return this.shift()
      case 6:
        return this.swap()
      default:
        return this.bend(sample)
    }
  }

  /** A joint gets a value that it should not have, or one of another. */
  private bend({ joints }: Sample): void {
    const { random, view } = this
    const kind = random.pick(kinds)
    const places = joints[kind]!
    if (places.length === 0) return this.flip()
    const at = random.pick(places)
    if (at + 4 > this.length) return this.flip()
    switch (kind) {
      case Joint.size:
      case Joint.slot:
        // Another field's place: two names for one thing, or a number that is read as an offset.
        if (random.once(3)) return view.setUint16(at, view.getUint16(this.inside(random.pick(places), 2), true), true)
        return view.setUint16(at, this.near(view.getUint16(at, true), this.length - at), true)
      case Joint.kind:
        return view.setUint8(at, random.once(2) ? random.below(16) : random.below(256))
      case Joint.end:
        return view.setUint8(at, random.below(256))
      case Joint.vtable:
        if (random.once(3)) {
          const to = random.pick(joints[Joint.size]!)
          return view.setInt32(at, at - to, true)
        }
        return view.setInt32(at, this.near(view.getInt32(at, true), at), true)
      case Joint.offset:
        // To another table, vector or text: of another kind, of its own, of what comes before.
        if (random.once(2)) {
          const to = random.pick(joints[random.pick([Joint.vtable, Joint.count, Joint.offset])]!)
          return view.setUint32(at, (to - at) >>> 0, true)
        }
        return view.setUint32(at, this.near(view.getUint32(at, true), this.length - at), true)
      default:
        return view.setUint32(at, this.near(view.getUint32(at, true), this.length - at - 4), true)
    }
  }

  /** Beside what it was, at what is left, beyond it, nothing, nearly all, negative. */
  private near(was: number, left: number): number {
    const { random } = this
    const step = random.pick([1, 2, 3, 4, 8])
    switch (random.below(8)) {
      case 0:
        return (was + step) >>> 0
      case 1:
        return (was - step) >>> 0
      case 2:
        return left >>> 0
      case 3:
        return (left + random.pick([-8, -4, -1, 1, 4])) >>> 0
      case 4:
        return random.pick(edges)
      case 5:
        return (left >>> random.below(4)) >>> 0
      case 6:
        return random.below(64)
      default:
        return random.u32()
    }
  }

  private truncate(): void {
    const { random } = this
    this.length = random.once(8) ? random.below(this.length) : 4 * random.below(this.length >>> 2)
  }

  private grow(): void {
    const { random } = this
    const more = Math.min(random.once(8) ? random.below(9) : 4 * (1 + random.below(8)), this.bytesMax - this.length)
    this.bytes.fill(random.pick([0, 0xff, 4]), this.length, this.length + more)
    this.length += more
  }

  private flip(): void {
    if (this.length > 0) this.bytes[this.random.below(this.length)]! ^= 1 << this.random.below(8)
  }

  /** Some words of another message in the place of some of this one. */
  private splice(other: Sample): void {
    const { random } = this
    const to = 4 * random.below(this.length >>> 2)
    const from = 4 * random.below(other.bytes.length >>> 2)
    const n = Math.min(4 * (1 + random.below(16)), this.length - to, other.bytes.length - from)
    this.bytes.set(other.bytes.subarray(from, from + n), to)
  }

  /** The rest of another message behind the begin of this one. */
  private graft(other: Sample): void {
    const { random } = this
    const to = 4 * random.below(this.length >>> 2)
    const from = random.once(2) ? Math.min(to, other.bytes.length) : 4 * random.below(other.bytes.length >>> 2)
    const rest = other.bytes.subarray(from, from + this.bytesMax - to)
    this.bytes.set(rest, to)
    this.length = to + rest.length
  }

  /** Some bytes go, or come twice: nothing behind them is where it was, or aligned as it was. */
  private shift(): void {
    const { random } = this
    const at = 2 * random.below(this.length >>> 1)
    const by = random.pick([-8, -4, -2, 2, 4, 8])
    const from = Math.max(0, Math.min(at, this.length))
    const to = Math.max(0, from + by)
    this.bytes.copyWithin(to, from, this.length)
    this.length = Math.max(0, Math.min(this.bytesMax, this.length + to - from))
  }

  private swap(): void {
    const { random, view } = this
    const [a, b] = [4 * random.below(this.length >>> 2), 4 * random.below(this.length >>> 2)]
    const word = view.getUint32(a)
    view.setUint32(a, view.getUint32(b))
    view.setUint32(b, word)
  }

  private inside(at: number, bytes: number): number {
    return Math.min(at, this.bytesMax - bytes)
  }
}

const edges = [
  ...[0, 1, 2, 3, 4, 8, 12, 0x7f, 0xff, 0x7fff, 0x8000, 0xffff, 0x10000],
  ...[0x1fffffff, 0x20000000, 0x3fffffff, 0x40000000, 0x7ffffffc, 0x7fffffff],
  ...[0x80000000, 0xfffffff8, 0xfffffffc, 0xffffffff],
]
