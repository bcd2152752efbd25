import { assert } from '@millrace/base'
import type { Caller } from './caller'
import type { Mapping } from './mapping'
import type { PartialReply } from './partial-reply'

/** Where a call stands. It goes one way: free, waiting, answered (while parts of it still run), free. */
export const CallState = { free: 0, waiting: 1, answered: 2 } as const

/**
 * The requests that a lane holds, as numbers in columns: a call is an index. The columns grow with the most that
 * were ever held together, up to `max`; nothing is allocated for a call.
 */
export class Calls {
  /** Calls that are not free. */
  used = 0
  /** Calls that wait for their answer. */
  waiting = 0
  capacity = 0
  state = new Uint8Array(0)
  caller: (Caller | null)[] = []
  item = new Int32Array(0)
  idLo = new Uint32Array(0)
  idHi = new Uint32Array(0)
  /** The rules that decided it. */
  mapping: (Mapping | null)[] = []
  /** Into the routes of its mapping. */
  route = new Int32Array(0)
  rows = new Int32Array(0)
  /** Parts in batches that have not come back. */
  parts = new Int32Array(0)
  /** Of its request: a `Traffic`, and its place among the tenants that are counted. */
  traffic = new Uint8Array(0)
  tenant = new Int32Array(0)
  /** 1 when timings are asked for. */
  timings = new Uint8Array(0)
  receivedUs = new Float64Array(0)
  /** When the answer is no longer wanted. */
  deadlineUs = new Float64Array(0)
  /** Pieces of an answer that comes in several, else null. */
  partial: (PartialReply | null)[] = []
  private readonly spare: number[] = []

  constructor(readonly max: number) {}

  /** A free call, or -1 when `max` are held. */
  take(): number {
    if (this.spare.length === 0) {
      if (this.capacity === this.max) return -1
      this.grow(Math.min(this.max, Math.max(1024, this.capacity * 2)))
    }
    const call = this.spare.pop()!
    this.state[call] = CallState.waiting
    this.used++
    this.waiting++
    return call
  }

  /** Marks a call as answered: from here on it only waits for its parts. */
  answered(call: number): void {
    assert(this.state[call] === CallState.waiting, 'a call is answered once')
    this.state[call] = CallState.answered
    this.waiting--
    if (this.parts[call] === 0) this.free(call)
  }

  /** One part of a call came back; frees an answered call with its last one. */
  returned(call: number): void {
    if (--this.parts[call]! === 0 && this.state[call] === CallState.answered) this.free(call)
  }

  private free(call: number): void {
    this.state[call] = CallState.free
    this.caller[call] = null
    this.mapping[call] = null
    this.partial[call] = null
    this.used--
    this.spare.push(call)
  }

  private grow(capacity: number): void {
    const from = this.capacity
    const grown = <T extends Uint8Array | Int32Array | Uint32Array | Float64Array>(old: T): T => {
      const column = new (old.constructor as new (length: number) => T)(capacity)
      column.set(old as never)
      return column
    }
    this.state = grown(this.state)
    this.item = grown(this.item)
    this.idLo = grown(this.idLo)
    this.idHi = grown(this.idHi)
    this.route = grown(this.route)
    this.rows = grown(this.rows)
    this.parts = grown(this.parts)
    this.traffic = grown(this.traffic)
    this.tenant = grown(this.tenant)
    this.timings = grown(this.timings)
    this.receivedUs = grown(this.receivedUs)
    this.deadlineUs = grown(this.deadlineUs)
    for (let call = capacity - 1; call >= from; call--) {
      this.caller[call] = null
      this.mapping[call] = null
      this.partial[call] = null
    }
    for (let call = capacity - 1; call >= from; call--) this.spare.push(call)
    this.capacity = capacity
  }
}
