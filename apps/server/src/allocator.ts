import { Breaker, Code, Refusal, systemClock, type Clock } from '@millrace/base'
import { NoCell, type Ask, type CellSource, type RulesFile } from '@millrace/rules'
import { httpAllocationService, type AllocationService } from './allocation-service'
import type { Config } from './config'
import { openLog, type Log } from './log'
import { RecentMap } from './recent-map'

/** How a request that an allocator's experiment was asked about came by its cell; in the order of the counters. */
export const allocationResults = ['', 'kept', 'asked', 'timeout', 'error', 'breaker', 'full', 'none'] as const
export type AllocationResult = (typeof allocationResults)[number]

export interface AllocatorLimits {
  /** Subjects whose cells are kept. */
  readonly subjectsMax: number
  /** How long what was said counts as new; what is older decides while it is asked for again. */
  readonly freshMs: number
  /** Bytes of the requests that wait. */
  readonly waitingBytesMax: number
}

interface Kept {
  readonly cells: Readonly<Record<string, string | null>>
  askAgainUs: number
}

interface Waiting {
  readonly bytes: number
  readonly resume: () => void
}

/** What became of a question. */
type Settled = 'asked' | 'timeout' | 'error'

/** One question to the platform has so many subjects at most. */
const subjectsOfQuestion = 1000
/** Least bytes that a request that waits counts for. */
const waitingBytesMin = 1024
const breakerLimits = { failuresMax: 5, openMs: 1000 }
const noCells: Kept['cells'] = {}

/**
 * The cells that an experimentation platform says, kept by subject. A request whose subject is not known waits outside of
 * the batches' queues, no longer than the platform's time limit; those of one turn of the event loop, and all of one
 * subject, are one question. Where the platform does not answer the default cell decides, and is counted.
 */
export class Allocator implements CellSource {
  /** By the place in `allocationResults`. */
  readonly counts = new Float64Array(allocationResults.length)
  /** Requests that wait. */
  waiting = 0
  private experiments: readonly string[] = []
  private readonly kept: RecentMap<string, Kept>
  private readonly breaker = new Breaker('the allocator', breakerLimits)
  private waitingBytes = 0
  private stopped = false
  /** Subjects of the next question; of those, and of questions under way, who waits. */
  private next = new Set<string>()
  private readonly waiters = new Map<string, Waiting[]>()
  /** What became of the question while those who waited for it go on; else null. */
  private settled: Settled | null = null
  /** Of the request that was looked up last. */
  private last = 0

  /** @param service null: the server has none, and default cells decide */
  constructor(
    private readonly service: AllocationService | null,
    private readonly limits: AllocatorLimits,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.kept = new RecentMap(limits.subjectsMax)
  }

  /** The experiments that the rules in force have it say; what is kept says nothing of new ones. */
  ask(experiments: readonly string[]): void {
    const known = this.experiments
    if (experiments.some((one) => !known.includes(one))) this.kept.clear()
    else if (experiments.length === known.length) return
    this.experiments = experiments
  }

  cellOf(experiment: string, ask: Ask): string | NoCell {
    const subject = subjectOf(ask)
    const kept = this.kept.get(subject)
    if (kept !== undefined) {
      this.last = this.settled === null ? 1 : allocationResults.indexOf(this.settled)
      if (this.clock.nowUs() >= kept.askAgainUs && this.askable()) this.askAgain(subject, kept)
      return saidBy(kept, experiment)
    }
    const why = this.settled ?? this.whyNot()
    if (why === null) return NoCell.UNKNOWN
    this.last = allocationResults.indexOf(why === 'asked' ? 'error' : why)
    return NoCell.FAILED
  }

  /** What is known now, for explanations. */
  peek(experiment: string, subject: string): string | NoCell {
    const kept = this.kept.get(subject)
    if (kept !== undefined) return saidBy(kept, experiment)
    return this.whyNot() === null ? NoCell.UNKNOWN : NoCell.FAILED
  }

  /** Counts the request that was looked up last, if it asked for a cell, and says how it came by it. */
  count(): AllocationResult {
    const result = allocationResults[this.last]!
    this.counts[this.last]!++
    this.last = 0
    return result
  }

  /** Has the request that was looked up just now, of `bytes` bytes, go on by `resume` when its subject's cells are known. */
  wait(ask: Ask, bytes: number, resume: () => void): void {
    const subject = subjectOf(ask)
    const waiting = { bytes: Math.max(bytes, waitingBytesMin), resume }
    this.waiting++
    this.waitingBytes += waiting.bytes
    const others = this.waiters.get(subject)
    if (others !== undefined) return void others.push(waiting)
    this.waiters.set(subject, [waiting])
    this.enqueue(subject)
  }

  /** Nobody waits from here on: those who do go on with default cells. */
  stop(): void {
    this.stopped = true
    for (const subject of [...this.waiters.keys()]) this.settle(subject, 'timeout')
  }

  private whyNot(): AllocationResult | null {
    if (this.service === null) return 'none'
    if (!this.askable()) return 'breaker'
    return this.waitingBytes >= this.limits.waitingBytesMax ? 'full' : null
  }

  private askable(): boolean {
    return this.service !== null && !this.stopped && this.breaker.asks
  }

  private askAgain(subject: string, kept: Kept): void {
    // Once, and not again before this question is over.
    kept.askAgainUs = Infinity
    if (!this.waiters.has(subject)) {
      this.waiters.set(subject, [])
      this.enqueue(subject)
    }
  }

  private enqueue(subject: string): void {
    if (this.next.size === 0) this.clock.defer(() => this.flush())
    this.next.add(subject)
  }

  private flush(): void {
    const subjects = [...this.next]
    this.next = new Set()
    for (let from = 0; from < subjects.length; from += subjectsOfQuestion)
      void this.question(subjects.slice(from, from + subjectsOfQuestion))
  }

  private async question(subjects: readonly string[]): Promise<void> {
    const { experiments } = this
    const how = await this.learn(experiments, subjects)
    // Rules with other experiments are in force since it was asked.
    if (how === 'asked' && experiments !== this.experiments) return this.question(subjects)
    for (const subject of subjects) this.settle(subject, how)
  }

  /** Asks, and keeps what is said; never rejects. */
  private async learn(experiments: readonly string[], subjects: readonly string[]): Promise<Settled> {
    const { opened } = this.breaker
    try {
      const said = await this.breaker.run(() => this.service!.cells(experiments, subjects))
      const askAgainUs = this.clock.nowUs() + this.limits.freshMs * 1000
      if (experiments === this.experiments)
        for (const subject of subjects) this.kept.set(subject, { cells: said.get(subject) ?? noCells, askAgainUs })
      return 'asked'
    } catch (error) {
      if (this.breaker.opened > opened)
        this.log.warn({ err: error }, `the allocator says no cells, default cells decide: ${(error as Error).message}`)
      // What it said before decides on.
      const askAgainUs = this.clock.nowUs() + breakerLimits.openMs * 1000
      for (const subject of subjects) {
        const kept = this.kept.get(subject)
        if (kept !== undefined) kept.askAgainUs = askAgainUs
      }
      return error instanceof Refusal && error.code === Code.DEADLINE_EXCEEDED ? 'timeout' : 'error'
    }
  }

  /** Those who wait for a subject go on. */
  private settle(subject: string, how: Settled): void {
    const waiters = this.waiters.get(subject) ?? []
    this.waiters.delete(subject)
    for (const { bytes, resume } of waiters) {
      this.waiting--
      this.waitingBytes -= bytes
      this.settled = how
      try {
        resume()
      } finally {
        this.settled = null
      }
    }
  }
}

/** For servers that have none. */
export function noAllocator(clock: Clock): Allocator {
  return new Allocator(null, { subjectsMax: 2, freshMs: 0, waitingBytesMax: 0 }, clock, openLog('silent'))
}

/** The allocator of a lane. */
export function openAllocator(config: Config, log: Log): Allocator {
  const { allocator: url, allocatorToken, allocatorTimeoutMs } = config
  const service = url === '' ? null : httpAllocationService(url, allocatorToken, allocatorTimeoutMs)
  const limits = {
    subjectsMax: config.allocatorSubjects,
    freshMs: config.allocatorSeconds * 1000,
    waitingBytesMax: config.allocatorWaitingBytes,
  }
  return new Allocator(service, limits, systemClock, log)
}

/** Experiments that ask an allocator which the server does not have: for whoever publishes them. */
export function askNobody(config: Config, { experiments = [] }: RulesFile): string[] {
  const asking = experiments.filter(({ allocator }) => allocator === true && config.allocator === '')
  return asking.map(({ id }) => `experiment ${id} gives everybody its default cell: MILLRACE_ALLOCATOR is not set`)
}

function saidBy({ cells }: Kept, experiment: string): string | NoCell {
  return (Object.hasOwn(cells, experiment) ? cells[experiment] : null) ?? NoCell.NONE
}

function subjectOf({ subjectWords, subjectBegin, subjectLength }: Ask): string {
  const { buffer, byteOffset } = subjectWords
  return Buffer.from(buffer as ArrayBuffer, byteOffset + subjectBegin, subjectLength).toString('utf8')
}
