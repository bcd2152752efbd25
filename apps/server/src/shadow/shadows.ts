import { Code, Traffic } from '@millrace/base'
import { Header, type Batch, type BatchQueue } from '@millrace/batch'
import { lookUpShadows } from '@millrace/rules'
import { matchInputs, Matched, type RequestView } from '@millrace/wire'
import type { Calls } from '../calls'
import type { Mapping } from '../mapping'
import { nextPart, placeRows, type Part } from '../place-rows'
import { readContext } from '../read-context'
import type { ServedVersion } from '../served-version'
import { Comparer, type ComparerOptions } from './comparer'
import { Copies, unanswered, type Copy } from './copies'
import { KeptAnswers } from './kept-answers'
import { arenaShareMax, waitMsMax } from './policy'
import { Runner, type RunnerOptions } from './runner'
import type { CopyOutcome } from './tally'
import type { ShadowTarget } from './targets'

/** 2^32 over the golden ratio: draws in such steps are spread evenly, over few requests as over many. */
const drawStep = 0x9e3779b9

export interface ShadowsOptions extends ComparerOptions, Omit<RunnerOptions, 'ran' | 'lost'> {
  readonly calls: Calls
}

/**
 * Copies of requests: made when the request is admitted, run when a thread has nothing else to do, compared with what was
 * answered when both are there. Copies are in no call; they hold slabs only while there are plenty, threads only while
 * nobody waits for them, and give both up first.
 */
export class Shadows {
  readonly runner: Runner
  private readonly comparer: Comparer
  private readonly copies = new Copies()
  private readonly kept: KeptAnswers
  private readonly words: Uint32Array
  private readonly matched = new Matched()
  private readonly part: Part = { rows: 0, heapBytes: 0 }
  private draw = 0

  constructor(private readonly options: ShadowsOptions) {
    const { arena } = options
    this.words = new Uint32Array(arena.memory)
    this.kept = new KeptAnswers(arena)
    this.comparer = new Comparer(options, this.copies, this.kept)
    this.runner = new Runner({
      ...options,
      ran: (batch) => this.comparer.soon(batch),
      lost: (batch) => {
        this.dropAll(batch, 'lost')
        this.dropWaiting(batch.queue, Infinity, 'paused')
      },
    })
  }

  /** Copies the request that the view holds, and that `call` has the rows of, to the shadows of its route. */
  copy(call: number, view: RequestView, mapping: Mapping, route: number, nowUs: number): void {
    // Itself a copy, from elsewhere.
    if (view.traffic === Traffic.shadow) return
    this.draw = (this.draw + drawStep) >>> 0
    const { shadowing, targets } = mapping
    const count = lookUpShadows(mapping.table, view, route, this.draw, shadowing)
    for (let i = 0; i < count; i++) this.copyTo(call, view, mapping, route, targets[shadowing[i]!]!, nowUs)
  }

  /** A call is answered; `batch` has run where the code is OK. The reply is read before this returns. */
  answered(first: Copy, code: Code, reply: Uint8Array, batch: Batch): void {
    let holders = 0
    for (let copy: Copy | null = first; copy !== null; copy = copy.next) {
      copy.primaryCode = code
      if (code !== Code.OK) continue
      copy.primaryUs = this.words[(batch.offset >>> 2) + Header.runUs]!
      copy.primaryRows = batch.rows
      if (needsAnswer(copy)) holders++
    }
    const kept = holders > 0 ? this.kept.keep(reply, holders, this.mayTake) : null
    for (let copy: Copy | null = first; copy !== null; ) {
      // It may be another request's after this.
      const next: Copy | null = copy.next
      const needed = code === Code.OK && needsAnswer(copy)
      if (copy.done) this.copies.leave(copy)
      else if (code === Code.CANCELLED) this.comparer.drop(copy, 'cancelled')
      else if (needed && kept === null) this.comparer.drop(copy, 'memory')
      else {
        if (needed) copy.answer = kept
        if (copy.parts === 0) this.comparer.soon(copy)
      }
      copy = next
    }
  }

  /** Gives up what waits, for a request that finds no slab; false when there is nothing. */
  giveWay(): boolean {
    const { arena } = this.options
    const before = arena.usedBytes
    for (const version of this.served()) this.dropWaiting(version.shadow, Infinity, 'memory')
    return arena.usedBytes < before
  }

  /** Drops copies that no thread had time for. */
  sweep(nowUs: number): void {
    if (this.runner.rowsWaiting === 0) return
    for (const version of this.served()) this.dropWaiting(version.shadow, nowUs - waitMsMax * 1000, 'late')
  }

  /** Drops what waits for a version that no pool runs any more. */
  abandon(version: ServedVersion): void {
    this.dropWaiting(version.shadow, Infinity, 'not_ready')
  }

  private copyTo(
    call: number,
    view: RequestView,
    mapping: Mapping,
    route: number,
    target: ShadowTarget,
    nowUs: number,
  ): void {
    const { calls } = this.options
    const pair = target.pairs.get(route)!
    const { served } = target.version
    const rows = calls.rows[call]!
    const why = this.whyNot(target, served, rows, nowUs)
    if (why !== null) return pair.tally.count(why)
    const copy = this.copies.take(target, pair)
    copy.idLo = view.idLo
    copy.idHi = view.idHi
    copy.rulesVersion = mapping.table.version
    copy.rows = rows
    copy.next = calls.copies[call]!
    calls.copies[call] = copy
    // Its code is known; the request's is not.
    if (!this.match(view, mapping, target, served!, rows)) this.comparer.answered(copy, Code.INVALID_ARGUMENT)
    else if (!this.admit(copy, view, served!, nowUs)) this.comparer.drop(copy, 'memory')
  }

  /** Why a request is not copied now, or null. */
  private whyNot(
    { shadow, copies, version }: ShadowTarget,
    served: ServedVersion | null,
    rows: number,
    nowUs: number,
  ): CopyOutcome | null {
    if (served === null || served.limits.length === 0) return 'not_ready'
    if (copies >= shadow.in_flight_max || served.shadow.rowsWaiting + rows > served.shadow.queueRowsMax) return 'limit'
    return this.runner.isPaused(version.index, nowUs) ? 'paused' : null
  }

  /** Whether the version takes the request. */
  private match(
    view: RequestView,
    mapping: Mapping,
    target: ShadowTarget,
    { intake }: ServedVersion,
    rows: number,
  ): boolean {
    const { matched } = this
    if (!matchInputs(view, intake, matched) || matched.rows !== rows) return false
    const { context } = intake
    return context === null || readContext(view, mapping, target.enriched, context, Traffic.shadow, matched)
  }

  /** False where there is no slab for all of it; parts that are in then run for nobody. */
  private admit(copy: Copy, view: RequestView, { intake, shadow: queue }: ServedVersion, nowUs: number): boolean {
    const { matched, part } = this
    for (let from = 0; from < copy.rows; from += part.rows) {
      nextPart(view, intake, matched, queue, from, copy.rows - from, part)
      if (part.heapBytes > queue.heapBytesMax) return false
      if (!queue.fits(part.rows, part.heapBytes) && !this.mayTake()) return false
      const batch = queue.room(part.rows, part.heapBytes, nowUs)
      if (batch === null) return false
      placeRows(batch, copy.index, Traffic.shadow, Infinity, view, intake, matched, from, part.rows)
      copy.parts++
      this.runner.admitted(part.rows)
    }
    return true
  }

  private readonly mayTake = (): boolean => {
    const { usedBytes, totalBytes } = this.options.arena
    return usedBytes <= totalBytes * arenaShareMax
  }

  /** Drops batches that were opened before. */
  private dropWaiting(queue: BatchQueue, beforeUs: number, why: CopyOutcome): void {
    while (queue.oldestUs(Infinity) < beforeUs) this.dropAll(this.runner.take(queue, 0), why)
  }

  private dropAll(batch: Batch, why: CopyOutcome): void {
    for (let r = 0; r < batch.requests; r++) {
      const copy = this.copies.of(batch.call[r]!)
      copy.parts--
      if (copy.done) this.copies.leave(copy)
      else this.comparer.drop(copy, why)
    }
    batch.queue.free(batch)
  }

  private served(): ServedVersion[] {
    return this.options.versions.all.flatMap(({ served }) => served ?? [])
  }
}

/** An answer is worth keeping: the copy may still be compared with it. */
function needsAnswer({ done, code }: Copy): boolean {
  return !done && (code === unanswered || code === (Code.OK as number))
}
