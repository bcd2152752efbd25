import type { CodeName, ColumnSpec, Context } from '@millrace/base'
import type { LaneVersion } from '@millrace/server/in-process'
import { encodeRequest, type ReplyMessage, type RequestMessage, type RouteMessage } from '@millrace/wire'
import type { Chance } from '../chance'
import type { Connection } from './connection'
import { randomContext, randomValues, wireColumns, type Values } from './columns'
import type { ArenaHeld, Asked as AskedShare } from './holdings'
import { randomSaid } from './tenants'

/**
 * What became of a part of a request on a device; `lost in time`: before its deadline; `abandoned`: of its version, while it
 * may have been waiting.
 */
export type Fate = 'refused' | 'failed' | 'lost' | 'lost in time' | 'too large' | 'timed out' | 'abandoned'

/** What a request was answered with, and when. */
export interface Answer {
  readonly reply: ReplyMessage
  readonly atUs: number
}

/** What requests are asked with: an objective whose versions take the same inputs. */
export interface Asked {
  readonly objective: string
  readonly inputs: readonly ColumnSpec[]
}

/** How the requests of a seed are. */
export interface Habits {
  /** They give little time. */
  readonly hasty: boolean
  /** Share of those whose strings and lists are long. */
  readonly long: number
}

/** A request, what is due to it, and what became of it. */
export interface Request {
  readonly serial: number
  readonly connection: Connection
  readonly id: bigint
  readonly objective: string
  readonly subject: string | bigint | undefined
  /** As rules and versions see it: with the tenant that its caller proved to be. */
  readonly context: Context
  /** The tenant that it says, and the one that its caller proved to be; empty: none. */
  readonly said: string
  readonly proven: string
  readonly values: readonly Values[]
  readonly rows: number
  /** Microseconds; 0: it says none. */
  readonly budgetUs: number
  readonly priority: 'interactive' | 'bulk'
  readonly timings: boolean
  readonly dryRun: boolean
  /** It is not what its workflow takes. */
  readonly spoiled: boolean
  /** The row that its workflow refuses; -1: none. */
  readonly refusedRow: number
  readonly encoded: Uint8Array

  // As it was received.
  receivedUs: number
  /** When its answer is no longer wanted. */
  dueUs: number
  /** When it is answered at last: with the last of a list that came as a POST, later than it is due. */
  lastUs: number
  /** What the rules in force say; null: nothing. */
  route: RouteMessage | null
  version: LaneVersion | null
  /** What it computes. */
  kind: number
  /** The version ran on some pool. */
  wasReady: boolean
  wasDraining: boolean
  /** Why its caller may not ask it, and whether he may ask what would answer. */
  stranger: CodeName | null
  mayResolve: boolean
  /** What was held when it came: rows of its queue, calls, those of its connection, its tenant's share. Had the arena a block? */
  rowsWaiting: number
  callsUsed: number
  inFlight: number
  arenaFull: boolean
  /** Rows of copies waited when it was refused or accepted. */
  copiesWaiting: number
  /** Who held how much of the arena, and what it asked for. */
  arena: (ArenaHeld & { readonly asked: number }) | null
  share: AskedShare | null
  /** Limits of the rules that may refuse it: as much is taken of them as they allow. */
  limited: readonly string[]

  // What became of it.
  /** By row: runs that brought their outputs. */
  readonly ran: Uint8Array
  readonly fates: Set<Fate>
  answer: Answer | null
}

const rowsOf = (chance: Chance): number => (chance.holds(0.85) ? chance.whole(1, 4) : Math.round(chance.spread(4, 150)))

export function randomRequest(
  chance: Chance,
  asked: Asked,
  serial: number,
  id: bigint,
  connection: Connection,
  { hasty, long: longShare }: Habits,
): Request {
  const { objective } = asked
  const long = chance.holds(longShare)
  const rows = long ? chance.whole(1, 12) : rowsOf(chance)
  const values = randomValues(chance, asked.inputs, serial, rows, long)
  const { tenant } = connection.guest
  const said = randomSaid(chance, connection.guest)
  const own = randomContext(chance)
  const seen = tenant || said
  const context = { ...own, ...(seen !== '' && { tenant: seen }) }
  const subject = chance.pick(['ann', 'bob', 'cem', 'dora', `s${serial}`, 42n, undefined])
  const budgetUs = chance.holds(hasty ? 0.9 : 0.4) ? Math.round(chance.spread(hasty ? 100 : 5_000, 300_000)) : 0
  const priority = chance.holds(0.3) ? 'bulk' : 'interactive'
  const timings = chance.holds(0.3)
  const dryRun = chance.holds(0.03)
  const spoiled = chance.holds(0.02)
  const columns = wireColumns(asked.inputs, values)
  if (spoiled) columns.splice(chance.whole(0, columns.length - 1), 1)
  const inputs = chance.holds(0.2) ? chance.shuffled(columns) : columns
  const fields: RequestMessage = {
    id,
    objective,
    context: { ...own, ...(said !== '' && { tenant: said }) },
    inputs,
    deadlineUs: budgetUs,
    priority,
    timings,
    dryRun,
    subject,
  }
  return {
    serial,
    connection,
    id,
    objective,
    subject,
    context,
    said,
    proven: tenant,
    values,
    rows,
    budgetUs,
    priority,
    timings,
    dryRun,
    spoiled,
    refusedRow: chance.holds(0.03) ? chance.whole(0, rows - 1) : -1,
    encoded: encodeRequest(fields),
    receivedUs: 0,
    dueUs: 0,
    lastUs: 0,
    route: null,
    version: null,
    kind: -1,
    wasReady: false,
    wasDraining: false,
    stranger: null,
    mayResolve: false,
    rowsWaiting: 0,
    callsUsed: 0,
    inFlight: 0,
    arenaFull: false,
    copiesWaiting: 0,
    arena: null,
    share: null,
    limited: [],
    ran: new Uint8Array(rows),
    fates: new Set(),
    answer: null,
  }
}

export function nameOf({ serial, connection, objective, rows }: Request): string {
  return `request ${serial} (${connection.name}, ${objective}, ${rows} rows)`
}
