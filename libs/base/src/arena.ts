import { assert } from './assert'

/**
 * A bounded arena of shared memory that blocks are taken from and freed to: the buddy system
 * (Knowlton 1965; Knuth, TAOCP 1, 2.5). Every block is `2^k` bytes, aligned to its size, so that a
 * 64-float batch and an image batch share one budget and free memory always comes together again.
 *
 * Owned by one thread; other threads see blocks by their offset in `memory`. `take` and `free` cost a few
 * dozen integer operations: they run once a batch, never once a request.
 */
export class Arena {
  readonly memory: SharedArrayBuffer
  readonly bytes: Uint8Array
  readonly blockBytesMin: number
  /** Bytes of all blocks taken now. */
  usedBytes = 0
  /** Blocks taken now. */
  usedBlocks = 0

  private readonly minLog2: number
  private readonly orders: number
  /** Free blocks by order (size `blockBytesMin << order`), as stacks of unit indexes: last freed, first taken, still in the cache. */
  private readonly free: number[][]
  /** By unit index: order + 1 of the free block that begins there, else 0. */
  private readonly freeOrder: Uint8Array
  /** By unit index: order + 1 of the taken block that begins there, else 0. */
  private readonly takenOrder: Uint8Array

  /** Both sizes are in bytes and powers of two, up to 1 GiB: offsets and sizes are 32-bit integers. */
  constructor(totalBytes: number, blockBytesMin: number) {
    assert(isPowerOfTwo(totalBytes) && isPowerOfTwo(blockBytesMin), 'arena sizes are powers of two')
    assert(totalBytes >= blockBytesMin, 'arena holds at least one block')
    assert(totalBytes <= 2 ** 30, 'arena is 1 GiB at most')
    this.memory = new SharedArrayBuffer(totalBytes)
    this.bytes = new Uint8Array(this.memory)
    this.blockBytesMin = blockBytesMin
    this.minLog2 = Math.log2(blockBytesMin)
    this.orders = Math.log2(totalBytes / blockBytesMin) + 1
    this.free = Array.from({ length: this.orders }, () => [])
    const units = totalBytes / blockBytesMin
    this.freeOrder = new Uint8Array(units)
    this.takenOrder = new Uint8Array(units)
    this.putFree(0, this.orders - 1)
  }

  get totalBytes(): number {
    return this.memory.byteLength
  }

  /** Bytes that a block for `bytes` really takes. */
  blockBytes(bytes: number): number {
    return this.blockBytesMin << this.orderOf(bytes)
  }

  /** The byte offset of a block of at least `bytes`, or -1 when there is none. */
  take(bytes: number): number {
    if (bytes > this.totalBytes) return -1
    const wanted = this.orderOf(bytes)
    let order = wanted
    while (order < this.orders && this.free[order]!.length === 0) order++
    if (order >= this.orders) return -1
    const unit = this.free[order]!.pop()!
    this.freeOrder[unit] = 0
    // Split down, keeping the lower half.
    while (order > wanted) {
      order--
      this.putFree(unit + (1 << order), order)
    }
    this.takenOrder[unit] = wanted + 1
    this.usedBytes += this.blockBytesMin << wanted
    this.usedBlocks++
    return unit << this.minLog2
  }

  /** Gives a block back. Freeing what is not taken is a bug and throws. */
  release(offset: number): void {
    let unit = offset >>> this.minLog2
    let order = this.takenOrder[unit]! - 1
    assert(order >= 0 && unit << this.minLog2 === offset, `block at ${offset} is not taken`)
    this.takenOrder[unit] = 0
    this.usedBytes -= this.blockBytesMin << order
    this.usedBlocks--
    while (order < this.orders - 1) {
      const buddy = unit ^ (1 << order)
      if (this.freeOrder[buddy] !== order + 1) break
      const list = this.free[order]!
      list.splice(list.lastIndexOf(buddy), 1)
      this.freeOrder[buddy] = 0
      unit = Math.min(unit, buddy)
      order++
    }
    this.putFree(unit, order)
  }

  private putFree(unit: number, order: number): void {
    this.free[order]!.push(unit)
    this.freeOrder[unit] = order + 1
  }

  private orderOf(bytes: number): number {
    const log2 = bytes <= 1 ? 0 : 32 - Math.clz32(bytes - 1)
    return Math.max(0, log2 - this.minLog2)
  }
}

function isPowerOfTwo(n: number): boolean {
  return n >= 1 && Number.isInteger(Math.log2(n))
}
