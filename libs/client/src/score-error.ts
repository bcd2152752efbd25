import type { CodeName } from '@millrace/base'
import type { RouteMessage } from '@millrace/wire'

/** A request that was not answered with scores: refused by the server, or never answered. */
export class ScoreError extends Error {
  constructor(
    /** `DEADLINE_EXCEEDED` and `UNAVAILABLE` may be the client's own: no answer in time, no connection. */
    readonly code: CodeName,
    message: string,
    /** What would have answered; null when the request was refused before it was routed. */
    readonly route: RouteMessage | null = null,
  ) {
    super(`${code}: ${message}`)
    this.name = 'ScoreError'
  }

  /** Whether the same request may succeed when it is sent again. */
  get retryable(): boolean {
    return this.code === 'UNAVAILABLE' || this.code === 'RESOURCE_EXHAUSTED'
  }
}
