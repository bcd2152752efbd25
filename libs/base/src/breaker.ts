import { nowUs } from './clock'
import { Code } from './code'
import { Refusal } from './refusal'

export interface BreakerLimits {
  /** Failures in a row after which nothing is asked. */
  readonly failuresMax: number
  /** Milliseconds until one is asked again; the others are refused until it has answered. */
  readonly openMs: number
}

/**
 * Keeps what does not answer, a store for instance, from being waited for by everybody: closed -> open after failures in a row ->
 * half open, one asks -> closed, or open again. What is refused is refused at once.
 */
export class Breaker {
  state: 'closed' | 'open' | 'half-open' = 'closed'
  /** Times that it opened, and what was refused meanwhile. */
  opened = 0
  refused = 0
  private failures = 0
  private askAgainUs = 0
  private last = ''

  constructor(
    private readonly name: string,
    private readonly limits: BreakerLimits,
    private readonly now: () => number = nowUs,
  ) {}

  /** It would ask now. */
  get asks(): boolean {
    return this.state === 'closed' || (this.state === 'open' && this.now() >= this.askAgainUs)
  }

  /** Runs `work` unless the breaker is open; a Refusal UNAVAILABLE or DEADLINE_EXCEEDED of it is a failure. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    this.enter()
    try {
      const value = await work()
      this.state = 'closed'
      this.failures = 0
      return value
    } catch (error) {
      if (isFailure(error)) this.failed(error.message)
      else if (this.state === 'half-open') this.state = 'closed'
      throw error
    }
  }

  private enter(): void {
    if (this.state === 'closed') return
    if (this.state === 'open' && this.now() >= this.askAgainUs) {
      this.state = 'half-open'
      return
    }
    this.refused++
    throw new Refusal(
      Code.UNAVAILABLE,
      `${this.name} does not answer and is not asked again yet (${this.last}); send the request again later`,
    )
  }

  private failed(message: string): void {
    this.last = message
    this.failures++
    if (this.state === 'closed' && this.failures < this.limits.failuresMax) return
    if (this.state !== 'open') this.opened++
    this.state = 'open'
    this.askAgainUs = this.now() + this.limits.openMs * 1000
  }
}

function isFailure(error: unknown): error is Refusal {
  return error instanceof Refusal && (error.code === Code.UNAVAILABLE || error.code === Code.DEADLINE_EXCEEDED)
}
