import { standIn, type StandIn } from '@millrace/wire'

/** What somebody may do beside scoring, as bits. */
export const Right = {
  /** Ask for a version or a cell, where the rules allow it too. */
  override: 1,
  /** Be told what would answer: `POST /v1/resolve`, and dry runs. */
  resolve: 2,
  /** Follow the rules in force, all of them, as a `Decider` does. */
  rules: 4,
} as const
export type RightName = keyof typeof Right
export const rightNames = Object.keys(Right) as RightName[]

/** Bits of some rights. */
export function rightsOf(names: readonly RightName[]): number {
  return names.reduce((bits, name) => bits | Right[name], 0)
}

/** Who asks: found once for each WebSocket and each POST, by what it showed. */
export interface Principal {
  /** Its tenant; empty: nobody in particular. */
  readonly tenant: string
  /** The same, as a request's context says it. */
  readonly said: StandIn
  /** Bits of `Right`; they change with the file of tenants, for those who are connected too. */
  may: number
  /** What it showed was taken out of the file since. */
  revoked: boolean
}

export function principal(tenant: string, may: number): Principal {
  return { tenant, said: standIn(tenant), may, revoked: false }
}

/** Whoever reaches a server that asks nobody who he is. */
export const anybody: Principal = principal('', rightsOf(rightNames))

/** Who is at the other end of a connection, and how much he has there. */
export interface Party {
  readonly who: Principal
  /** Requests that were accepted and are not answered. */
  inFlight: number
  /** Bytes of the arena that its requests hold. */
  arenaBytes: number
}
