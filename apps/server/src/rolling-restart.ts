import { Code, Refusal } from '@millrace/base'

/** A lane that was replaced. */
export interface Replaced {
  readonly lane: number
  /** Process of its successor. */
  readonly pid: number
  /** Milliseconds until the successor served; the one before it drains from then on. */
  readonly startMs: number
  /** Milliseconds until the one before it was gone. */
  readonly drainMs: number
}

/** Replaces the lanes of a server, one after the other. */
export class RollingRestart {
  private running = false

  /**
   * @param why that lanes cannot be replaced here, else null
   * @param replace starts a successor, waits until it is ready, and drains the lane; rejects with why it is not
   */
  constructor(
    private readonly lanes: number,
    private readonly why: string | null,
    private readonly replace: (lane: number) => Promise<Replaced>,
  ) {}

  /** Rejects with a Refusal; at the first successor that is not ready, with the lanes before it replaced. */
  async run(): Promise<Replaced[]> {
    if (this.why !== null) throw new Refusal(Code.FAILED_PRECONDITION, this.why)
    if (this.running) throw new Refusal(Code.ABORTED, 'the lanes are being restarted already')
    this.running = true
    try {
      const done: Replaced[] = []
      for (let lane = 0; lane < this.lanes; lane++) done.push(await this.replace(lane))
      return done
    } finally {
      this.running = false
    }
  }
}
