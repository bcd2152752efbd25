import type { Arena } from '@millrace/base'
import type { Shares } from '@millrace/batch'
import type { Limit } from '@millrace/rules'
import type { Party, Road } from '@millrace/server/in-process'
import { Violation } from '../story'
import type { Request } from './request'

type RuleLimits = NonNullable<Parameters<Road['calls']['count']>[2]>

/** Microseconds by which the road's time may be another than the clock's. */
const slackUs = 5_000

/** What a call counts towards. */
interface Held {
  readonly request: Request
  readonly party: Party
  readonly shares: Shares
  /** Whose rows they are, as `shares` knows it. */
  readonly holder: number
  /** Of the arena. */
  readonly bytes: number
}

/** Bytes of the arena when a request asked for some: of its connection, of the tenant that it proved to be, and left. */
export interface ArenaHeld {
  readonly connection: number
  readonly tenant: number
  readonly left: number
  readonly isHalfFree: boolean
  /** They give up what they hold before somebody is refused. */
  readonly copiesWaiting: number
}

/** What a share was when a request asked for more of it. */
export interface Asked {
  readonly held: number
  readonly total: number
  readonly room: number
  /** Who asked for it lately, or a little before. */
  readonly tenants: number
}

/** Tenants count for as long as this after they asked; microseconds. */
const lateUs = 2_010_000

/**
 * Who holds what of a lane, counted from its calls: what is counted as it comes and goes must be the same, and what is
 * refused must be too much.
 */
export class Holdings {
  /** By call; those that are free are dropped when they are met. */
  private readonly held = new Map<number, Held>()
  private readonly parties = new Set<Party>()
  private readonly limits = new Set<RuleLimits[number]>()
  private readonly asked = new Map<Shares, Map<string, number>>()

  /** @param delivered the request that the road is given */
  constructor(
    private readonly road: Road,
    delivered: () => Request,
  ) {
    const { calls } = road
    const count = calls.count.bind(calls)
    calls.count = (call, party, limits, shares, holder, bytes) => {
      count(call, party, limits, shares, holder, bytes)
      const request = delivered()
      if (isRefusedArena(bytes, request.arena!))
        throw new Violation(`request ${request.serial} gets ${bytes} bytes of the arena, more than it may have`)
      this.held.set(call, { request, party, shares, holder, bytes })
      this.parties.add(party)
      for (const limit of limits ?? []) this.limits.add(limit)
    }
  }

  /** Requests that are accepted and not answered. */
  waiting(of: (request: Request) => boolean): number {
    return this.live().filter(([call, { request }]) => this.isWaiting(call) && of(request)).length
  }

  /** Those of some limits of which so much is taken, by requests that came before, that a request may be refused. */
  limitsTaken(limits: readonly Limit[], request: Request, before: readonly Request[], nowUs: number): string[] {
    return limits
      .filter((limit) => {
        const counts = (other: Request): boolean =>
          isFor(limit, other) && (limit.tenant !== '*' || sameTenant(other, request))
        if (!isFor(limit, request)) return false
        if (this.waiting(counts) >= (limit.requests_in_flight ?? Infinity)) return true
        return isRateTaken(limit, before.filter(counts), nowUs)
      })
      .map(({ id }) => id)
  }

  /** A request asks for more of a share, or would if it came so far. */
  ask(shares: Shares, { proven }: Request, nowUs: number): Asked {
    const asked = this.asked.get(shares) ?? new Map<string, number>()
    this.asked.set(shares, asked.set(proven, nowUs))
    const all = this.live().filter(([, held]) => held.shares === shares)
    const rows = (of: typeof all): number => of.reduce((sum, [, { request }]) => sum + request.rows, 0)
    return {
      held: rows(all.filter(([, { request }]) => request.proven === proven)),
      total: rows(all),
      room: shares.room,
      tenants: [...asked.values()].filter((us) => nowUs - us < lateUs).length,
    }
  }

  /** Who holds what of the arena when a request comes. */
  arenaHeld({ connection, proven }: Request, { totalBytes, usedBytes }: Arena): ArenaHeld {
    const bytes = (of: (request: Request) => boolean): number =>
      this.live().reduce((sum, [, held]) => sum + (of(held.request) ? held.bytes : 0), 0)
    return {
      connection: bytes((other) => other.connection === connection),
      tenant: proven === '' ? 0 : bytes((other) => other.proven === proven),
      left: totalBytes - usedBytes,
      isHalfFree: 2 * usedBytes <= totalBytes,
      copiesWaiting: this.road.shadows.runner.rowsWaiting,
    }
  }

  /** What holds between any two turns of the event loop. */
  check(): void {
    const live = this.live()
    for (const party of this.parties) {
      const own = live.filter(([, held]) => held.party === party)
      same(
        party.inFlight,
        own.filter(([call]) => this.isWaiting(call)).length,
        'requests of a connection are in flight',
      )
      const bytes = own.reduce((sum, [, held]) => sum + held.bytes, 0)
      same(party.arenaBytes, bytes, 'bytes of the arena are held by a connection')
      if (own.length === 0) this.parties.delete(party)
    }
    for (const shares of this.asked.keys()) {
      const rows = new Map<number, number>()
      for (const [, { shares: of, holder, request }] of live)
        if (of === shares) rows.set(holder, (rows.get(holder) ?? 0) + request.rows)
      same(
        shares.total,
        [...rows.values()].reduce((sum, n) => sum + n, 0),
        'rows of a version are held',
      )
      for (const [holder, n] of rows) same(shares.of(holder), n, 'rows of a version are held by one tenant')
    }
  }

  /** What holds when nothing is held: each limit, were it of one, lets one in. */
  checkEnd(nowUs: number): void {
    this.check()
    for (const limit of this.limits) {
      limit.set({ ...limit.limit, requests_in_flight: 1 })
      for (let tenant = 0; tenant < this.road.tenants.names.length; tenant++)
        if (limit.refuses(tenant, nowUs)?.includes('requests_in_flight') === true)
          throw new Violation(`limit ${limit.limit.id} counts requests in flight when everything is over`)
    }
  }

  private isWaiting(call: number): boolean {
    return this.road.calls.state[call] === 1
  }

  private live(): [call: number, held: Held][] {
    for (const call of this.held.keys()) if (this.road.calls.state[call] === 0) this.held.delete(call)
    return [...this.held]
  }
}

/** Whether so many bytes more are too much: more than is left, or than twice that for a tenant. */
export function isTooMuchArena(bytes: number, { connection, tenant, left }: ArenaHeld): boolean {
  return (connection > 0 && connection + bytes > left) || (tenant > 0 && tenant + bytes > 2 * left)
}

/** Whether so many bytes more have to be refused. */
function isRefusedArena(bytes: number, held: ArenaHeld): boolean {
  return !held.isHalfFree && held.copiesWaiting === 0 && isTooMuchArena(bytes, held)
}

/** Whether so many rows more are too much: others ask, and it is more than its part and more than half of what is left. */
export function isTooMuch(rows: number, { held, total, room, tenants }: Asked): boolean {
  return tenants > 1 && held > 0 && held + rows > Math.max((1.5 * room) / tenants, (room - total) / 2)
}

function isFor({ tenant, objectives }: Limit, { context, objective }: Request): boolean {
  if (objectives !== undefined && !objectives.includes(objective)) return false
  return tenant === undefined || tenant === '*' || tenant === context['tenant']
}

function sameTenant(a: Request, b: Request): boolean {
  return a.context['tenant'] === b.context['tenant']
}

/** Since some time more of these came than the bucket held and what dripped into it. */
function isRateTaken(limit: Limit, came: readonly Request[], nowUs: number): boolean {
  const { requests_per_second: rate, burst = rate } = limit
  if (rate === undefined) return false
  return came.some(({ receivedUs }, i) => {
    const dripped = (rate * Math.max(0, nowUs - receivedUs - slackUs)) / 1e6
    return came.length - i > Math.max(1, burst!) - 1.01 + dripped
  })
}

function same(counted: number, held: number, what: string): void {
  if (counted !== held) throw new Violation(`${counted} ${what}, by what is counted; ${held} are`)
}
