import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { ScoreError } from './score-error'

/** Of the requests, so many may be sent again: a server in trouble gets a fifth more, not three times as much. */
const share = 0.2
/** Sent again whatever the share: all that one connection had in flight, when it breaks. */
const reserve = 1_000
const most = 10_000
const pauseMs = { first: 10, factor: 3 }

/**
 * Sends again what was not answered: scoring changes nothing, so what may have been scored already may be scored again.
 * Only UNAVAILABLE is: a refusal for want of room would add to what it complains of.
 */
export class Retries {
  private left = reserve
  private readonly closing = new AbortController()

  /** @param times that one request is sent again at most */
  constructor(private readonly times: number) {
    // One for each that pauses.
    setMaxListeners(0, this.closing.signal)
  }

  /**
   * The first attempt that does not end UNAVAILABLE, or the last one that there was time for.
   *
   * @param attempt gets the milliseconds that are left of `timeoutMs`
   */
  async run<T>(timeoutMs: number, attempt: (leftMs: number) => Promise<T>): Promise<T> {
    const end = performance.now() + timeoutMs
    this.left = Math.min(most, this.left + share)
    let leftMs = timeoutMs
    for (let again = 0; ; again++) {
      try {
        return await attempt(leftMs)
      } catch (error) {
        if (again === this.times || !(error instanceof ScoreError) || error.code !== 'UNAVAILABLE') throw error
        // With jitter, so that what broke together does not come back together.
        const pause = pauseMs.first * pauseMs.factor ** again * (0.5 + Math.random())
        leftMs = Math.ceil(end - performance.now() - pause)
        if (this.closing.signal.aborted || leftMs <= 0 || this.left < 1) throw error
        this.left--
        await sleep(pause, undefined, { signal: this.closing.signal }).catch(() => {
          throw new ScoreError('UNAVAILABLE', 'the client is closed')
        })
      }
    }
  }

  close(): void {
    this.closing.abort()
  }
}
