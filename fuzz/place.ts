/** A message in the middle of memory that is not its own. */
export interface Placed {
  readonly buffer: ArrayBuffer
  readonly base: number
  readonly length: number
}

/**
 * Memory of somebody else, with a place in it for one message after the other. What is made of a message may not depend
 * on it: two that differ tell.
 */
export class Neighbourhood {
  private readonly buffer: ArrayBuffer
  private readonly bytes: Uint8Array
  private readonly clean: Uint8Array

  /** @param pattern what lies around messages, again and again */
  constructor(
    private readonly messageBytesMax: number,
    pattern: Uint8Array,
  ) {
    // As much in front and behind as offsets of half a message reach.
    this.buffer = new ArrayBuffer(3 * messageBytesMax)
    this.bytes = new Uint8Array(this.buffer)
    for (let at = 0; at < this.bytes.length; at += pattern.length)
      this.bytes.set(pattern.subarray(0, Math.min(pattern.length, this.bytes.length - at)), at)
    this.clean = this.bytes.slice()
  }

  /** Holds until the next one is placed. */
  place(message: Uint8Array, shift: number): Placed {
    const { buffer, bytes, messageBytesMax } = this
    const base = messageBytesMax + shift
    bytes.set(message, base)
    return { buffer, base, length: message.length }
  }

  /** Nothing of the message is left. */
  restore({ base, length }: Placed): void {
    this.bytes.set(this.clean.subarray(base, base + length), base)
  }
}

/** All ones: offsets and lengths of nearly 2^32, or of -1. */
export const ones = new Uint8Array(64).fill(0xff)

/** Small multiples of four: what offsets and lengths look like. */
export const smallNumbers = new Uint8Array(Uint32Array.from({ length: 7 }, (_, i) => 4 * i).buffer)
