import type { Config } from './config'

/*
 * What a server may come to hold, holder by holder. Engines, models, facts and the code of workflows are not in it: they
 * are the repository's.
 */

export interface Holder {
  readonly what: string
  /** Over all lanes, at most. */
  readonly bytes: number
  /** Taken from the start, and known to the byte: a server that has no room for it does not start. */
  readonly reserved: boolean
  /** What to lower; empty: nothing. */
  readonly variable: string
}

const mib = 2 ** 20
/** About what a process with its young generation takes, and a thread beside its engine. */
const processBytes = 96 * mib
const threadBytes = 64 * mib
/** The columns of a call. */
const callBytes = 128
/** Parsed values beside the text that they are parsed from, and the message that they mean. */
const jsonTimes = 8

/** In the order of a request's way. */
export function memoryPlan(config: Config): Holder[] {
  const { lanes, pools } = config
  const threads = pools.reduce((sum, pool) => sum + pool.threads, 0)
  const holder = (what: string, bytes: number, variable: string, reserved = false): Holder => {
    return { what, bytes: bytes * lanes, reserved, variable }
  }
  return [
    holder('front threads', processBytes, 'MILLRACE_LANES'),
    holder('pool threads, without what they load', threads * threadBytes, 'MILLRACE_POOL_<NAME>_THREADS'),
    holder('arenas', config.arenaBytes, 'MILLRACE_ARENA_BYTES', true),
    holder('a JSON request while it is read', jsonTimes * config.requestBytesMax, 'MILLRACE_REQUEST_BYTES_MAX'),
    holder(
      'a message with its tenant behind it',
      config.tenants === '' ? 0 : config.requestBytesMax,
      'MILLRACE_REQUEST_BYTES_MAX',
    ),
    holder('requests in flight', callBytes * config.requestsInFlightMax, 'MILLRACE_REQUESTS_IN_FLIGHT_MAX'),
    holder('bodies that arrive', config.arrivingBytesMax, 'MILLRACE_ARRIVING_BYTES_MAX'),
    holder(
      'requests that wait for the allocator',
      config.allocator === '' ? 0 : config.allocatorWaitingBytes,
      'MILLRACE_ALLOCATOR_WAITING_BYTES',
    ),
    holder('answers that are not read', config.unreadBytesMax, 'MILLRACE_UNREAD_BYTES_MAX'),
  ]
}

/**
 * Adds to `problems` when what is reserved does not fit the memory that there is, and to `warnings` when what may come
 * does not: a server that is seldom full is right on a small machine.
 *
 * @param available bytes, what control groups allow included
 */
export function checkMemoryPlan(config: Config, available: number, problems: string[], warnings: string[]): void {
  const holders = memoryPlan(config)
  const reserved = holders.filter((holder) => holder.reserved)
  if (bytesOf(reserved) > available) problems.push(tell(reserved, available, 'are taken from the start'))
  else if (bytesOf(holders) > available) warnings.push(tell(holders, available, 'may be taken'))
}

function tell(holders: readonly Holder[], available: number, how: string): string {
  const most = [...holders].sort((a, b) => b.bytes - a.bytes).slice(0, 3)
  const named = most.map(({ what, bytes, variable }) => `${what} ${shown(bytes)} (${variable})`).join(', ')
  return `${most[0]!.variable}: ${shown(bytesOf(holders))} ${how}, ${shown(available)} are available; lower one of: ${named}`
}

export function bytesOf(holders: readonly Holder[]): number {
  return holders.reduce((sum, { bytes }) => sum + bytes, 0)
}

function shown(bytes: number): string {
  return `${Math.ceil(bytes / mib)} MiB`
}
