import type { Party } from './principal'

/**
 * Who asked: a WebSocket, one HTTP response, or something in front of one. The road calls `reply` exactly once for
 * each message it was given for the caller, unless the caller is `closed` by then.
 */
export interface Caller {
  /** At the other end of the connection. */
  readonly party: Party
  /** The other side is gone; replies to it are dropped. */
  closed: boolean
  /** Of `Outgoing`: the last run of its answers that leave with this turn; -1: none. */
  lastRun: number
  /**
   * Sends one reply. `message` belongs to the road: whoever needs it after this call returned copies it.
   *
   * @param item which of the caller's messages it answers, as `serve` was told
   * @param code a `Code`
   */
  reply(message: Uint8Array, item: number, code: number): void
  /** Runs `send`, in which replies are sent, so that they leave together. */
  cork(send: () => void): void
}
