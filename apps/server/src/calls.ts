import { assert } from '@millrace/base'
import type { Shares } from '@millrace/batch'
import type { ArenaShares } from './arena-shares'
import type { Caller } from './caller'
import type { Mapping } from './mapping'
import type { PartialReply } from './partial-reply'
import type { Party } from './principal'
import type { RuleLimit } from './rule-limits'
import { grown } from './tenant-counts'
import type { Copy } from './shadow/copies'

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
  /** What it counts towards until it is answered, and its rows until they are all back; null: nothing. */
  private party: (Party | null)[] = []
  private limits: (readonly RuleLimit[] | null)[] = []
  private shares: (Shares | null)[] = []
  private holder = new Int32Array(0)
  /** Of the arena. */
  private bytes = new Int32Array(0)
  /** The first copy of its request to a shadow, else null. */
  copies: (Copy | null)[] = []
  private readonly spare: number[] = []

  constructor(
    readonly max: number,
    private readonly arena: ArenaShares,
  ) {}

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

  /** Counts a call whose tenant and rows are known towards what its caller, its tenant and the rules allow. */
  count(
    call: number,
    party: Party,
    limits: readonly RuleLimit[] | null,
    shares: Shares,
    /** Of its rows, and of their bytes. */
    holder: number,
    bytes: number,
  ): void {
    const tenant = this.tenant[call]!
    party.inFlight++
    if (limits !== null) for (const limit of limits) limit.hold(tenant, 1)
    shares.take(holder, this.rows[call]!)
    this.arena.take(party, holder, bytes)
    this.party[call] = party
    this.limits[call] = limits
    this.shares[call] = shares
    this.holder[call] = holder
    this.bytes[call] = bytes
  }

  /** Marks a call as answered: from here on it only waits for its parts. */
  answered(call: number): void {
    assert(this.state[call] === CallState.waiting, 'a call is answered once')
    this.state[call] = CallState.answered
    this.waiting--
    const party = this.party[call]!
    const limits = this.limits[call]!
    if (party !== null) party.inFlight--
    if (limits !== null) for (const limit of limits) limit.hold(this.tenant[call]!, -1)
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
    this.shares[call]?.give(this.holder[call]!, this.rows[call]!)
    const party = this.party[call]!
    if (party !== null) this.arena.give(party, this.holder[call]!, this.bytes[call]!)
    this.party[call] = null
    this.limits[call] = null
    this.shares[call] = null
    this.copies[call] = null
    this.used--
    this.spare.push(call)
  }

  private grow(capacity: number): void {
    const from = this.capacity
    this.state = grown(this.state, capacity)
    this.item = grown(this.item, capacity)
    this.idLo = grown(this.idLo, capacity)
    this.idHi = grown(this.idHi, capacity)
    this.route = grown(this.route, capacity)
    this.rows = grown(this.rows, capacity)
    this.parts = grown(this.parts, capacity)
    this.traffic = grown(this.traffic, capacity)
    this.tenant = grown(this.tenant, capacity)
    this.holder = grown(this.holder, capacity)
    this.bytes = grown(this.bytes, capacity)
    this.timings = grown(this.timings, capacity)
    this.receivedUs = grown(this.receivedUs, capacity)
    this.deadlineUs = grown(this.deadlineUs, capacity)
    for (let call = capacity - 1; call >= from; call--) {
      this.caller[call] = null
      this.mapping[call] = null
      this.partial[call] = null
      this.party[call] = null
      this.limits[call] = null
      this.shares[call] = null
      this.copies[call] = null
    }
    for (let call = capacity - 1; call >= from; call--) this.spare.push(call)
    this.capacity = capacity
  }
}
