import { Arena } from '@millrace/base'
import { Chance } from '../chance'
import { SimulatedClock } from '../clock'
import { Violation, type Story, type Tally } from '../story'
import type { Request } from './request'

/** Smallest block of a lane's arena. */
const slabBytesMin = 4096
/** What is in a block that nobody owns. */
const poison = 0xdb

/** What everything in a simulation shares. */
export class World {
  readonly chance: Chance
  readonly clock: SimulatedClock
  /** By serial, all that were sent. */
  readonly requests: Request[] = []

  constructor(
    seed: number,
    readonly tally: Tally,
    /** Null: nobody reads it. */
    private readonly story: Story | null,
  ) {
    this.chance = new Chance(seed)
    this.clock = new SimulatedClock(new Chance(seed + 1), this.chance.pick([0, 10, 50]))
  }

  tell(line: () => string): void {
    this.story?.tell(this.clock.nowUs(), line())
  }

  /** The request that a row says it is of; a row that nobody sent is a violation. */
  requestOf(serial: number, row: number): Request {
    const request = this.requests[serial]
    if (request === undefined || row >= request.rows)
      throw new Violation(`row ${row} of request ${serial}, which nobody sent`)
    return request
  }
}

/** An arena whose free blocks are poisoned, that knows whose block is whose, and that refuses nothing that it has. */
export class WatchedArena extends Arena {
  /** By offset of a block that is taken: how large it is, and which taking of the arena it was. */
  private readonly taken = new Map<number, { readonly bytes: number; readonly taking: number }>()
  private takings = 0
  /** Called when there is no block. */
  onRefusal: () => void = () => undefined

  constructor(totalBytes: number) {
    super(totalBytes, slabBytesMin)
    this.bytes.fill(poison)
  }

  override take(bytes: number): number {
    const offset = super.take(bytes)
    const block = this.blockBytes(bytes)
    if (offset < 0) this.refuse(block)
    else if (!this.isFree(offset, block)) throw new Violation(`the block at ${offset} is taken twice`)
    else this.taken.set(offset, { bytes: block, taking: ++this.takings })
    return offset
  }

  override release(offset: number): void {
    super.release(offset)
    this.bytes.fill(poison, offset, offset + this.taken.get(offset)!.bytes)
    this.taken.delete(offset)
  }

  /** A number that changes when the block is given back. */
  takingOf(offset: number): number {
    return this.taken.get(offset)?.taking ?? 0
  }

  private refuse(block: number): void {
    this.onRefusal()
    for (let offset = 0; offset + block <= this.totalBytes; offset += block)
      if (this.isFree(offset, block))
        throw new Violation(`no block of ${block} bytes, and the one at ${offset} is free`)
  }

  private isFree(offset: number, block: number): boolean {
    for (const [begin, { bytes }] of this.taken) if (begin < offset + block && offset < begin + bytes) return false
    return true
  }
}
