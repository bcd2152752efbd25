import { Code, codeNames, Traffic, type Arena, type Clock } from '@millrace/base'
import { Header, type Batch } from '@millrace/batch'
import { replyOutputs } from '@millrace/wire'
import type { Config } from '../config'
import type { AnswerCounts } from '../mapping'
import { PartialReply } from '../partial-reply'
import type { Versions } from '../versions'
import { compare, type OutputBytes } from './compare'
import { unanswered, type Copies, type Copy } from './copies'
import { shownInputs, shownOutputs, type Example } from './examples'
import type { KeptAnswers } from './kept-answers'
import { compareUsMax } from './policy'
import type { CopyOutcome } from './tally'

export interface ComparerOptions {
  readonly config: Config
  readonly arena: Arena
  readonly versions: Versions
  readonly counts: AnswerCounts
  readonly clock: Clock
}

/** What a version answered: outputs, or null beside a code that is not OK. */
type Answer = readonly OutputBytes[] | null

/**
 * Compares what a request was answered with what its copy was, when both are there. It takes a little of each turn of the
 * event loop; what that does not do waits for the next, in slabs that nobody else needs.
 */
export class Comparer {
  /** Batches that ran, and copies whose answers are both kept. */
  private readonly ready: (Batch | Copy)[] = []
  /** Of the first of `ready`: its next request. */
  private next = 0
  private working = false
  private readonly words: Uint32Array

  constructor(
    private readonly options: ComparerOptions,
    private readonly copies: Copies,
    private readonly kept: KeptAnswers,
  ) {
    this.words = new Uint32Array(options.arena.memory)
  }

  /** A batch of copies ran, or a request is answered whose copy came back before. */
  soon(what: Batch | Copy): void {
    this.ready.push(what)
    if (!this.working) this.work()
  }

  /** What the copy was answered with. */
  answered(copy: Copy, code: Code): void {
    copy.code = code
    this.options.counts.counts[copy.target.countsAt + Traffic.shadow * codeNames.length + code]!++
  }

  drop(copy: Copy, why: CopyOutcome): void {
    copy.pair.tally.count(why)
    this.finish(copy)
  }

  private readonly work = (): void => {
    const { clock } = this.options
    const end = clock.nowUs() + compareUsMax
    while (this.ready.length > 0 && clock.nowUs() < end) {
      const [what] = this.ready as [Batch | Copy]
      if ('queue' in what) {
        while (this.next < what.requests && clock.nowUs() < end) this.cameBack(what, this.next++)
        if (this.next < what.requests) break
        this.next = 0
        what.queue.free(what)
      } else this.settle(what, null, 0)
      this.ready.shift()
    }
    this.working = this.ready.length > 0
    if (this.working) clock.defer(this.work)
  }

  /** Request `r` of a batch that ran. */
  private cameBack(batch: Batch, r: number): void {
    const copy = this.copies.of(batch.call[r]!)
    copy.parts--
    if (copy.done) return this.copies.leave(copy)
    const header = batch.offset >>> 2
    const codesAt = (batch.offset + batch.queue.layout.codes) >>> 2
    const code = this.words[header + Header.refused] === 1 ? this.words[codesAt + r]! : Code.OK
    copy.us = this.words[header + Header.runUs]!
    copy.batchRows = batch.rows
    if (code !== Code.OK && copy.code === unanswered) this.answered(copy, code as Code)
    if (copy.parts === 0 && copy.code === unanswered) this.answered(copy, Code.OK)
    const { dense, description } = this.options.versions.of(batch)
    const whole = dense && copy.parts === 0 && copy.partial === null
    if (code === Code.OK && !(whole && copy.primaryCode !== unanswered)) {
      copy.partial ??= new PartialReply(description.signature)
      copy.partial.add(batch, r, this.options.arena.memory)
    }
    if (copy.parts === 0 && copy.primaryCode !== unanswered) this.settle(copy, batch, r)
  }

  /** Both have answered. `batch` has the copy's last rows, or is null. */
  private settle(copy: Copy, batch: Batch | null, r: number): void {
    const { tally } = copy.pair
    tally.answered(copy.primaryCode as Code, copy.code as Code)
    const primary = copy.answer === null ? null : replyOutputs(this.kept.read(copy.answer))
    const [primaryOk, ok] = [copy.primaryCode, copy.code].map((code) => code === (Code.OK as number))
    const own = ok === true ? this.outputsOf(copy, batch, r) : null
    const bothAnswered = primary !== null && own !== null
    const badness = bothAnswered ? this.compare(copy, primary, own) : 0
    tally.count(bothAnswered ? 'compared' : 'failed')
    if (copy.target.shadow.keep_examples && this.options.config.shadowExamples === 'yes') {
      const make = (): Example => this.example(copy, badness, primary, own, batch, r)
      if (bothAnswered) tally.examples.differed(badness, make)
      else if (primaryOk !== ok) tally.examples.failed(make)
    }
    this.finish(copy)
  }

  /** How bad the worst output is. */
  private compare(copy: Copy, primary: readonly OutputBytes[], own: readonly OutputBytes[]): number {
    const { shadow } = copy.target
    const { tally, comparison } = copy.pair
    tally.ran(copy)
    let badness = 0
    for (const output of comparison.outputs) {
      const difference = compare(output, primary[output.primary]!, own[output.copy]!, copy.rows, shadow)
      tally.output(output.name).add(difference)
      if (difference.beyond > 0) badness = Math.max(badness, difference.infinite > 0 ? Infinity : difference.max)
    }
    return badness
  }

  private outputsOf({ partial, rows }: Copy, batch: Batch | null, r: number): OutputBytes[] {
    if (partial !== null) return partial.columns(rows)
    const { outputBytes, outputPerRequest } = this.options.versions.of(batch!)
    const { bytes } = this.options.arena
    const { rowBegin, offset, queue } = batch!
    return Array.from(queue.layout.outputs, (place, c) => {
      const [begin, end] = outputPerRequest[c] === 1 ? [r, r + 1] : [rowBegin[r]!, rowBegin[r + 1]!]
      const width = outputBytes[c]!
      return { data: bytes.subarray(offset + place + begin * width, offset + place + end * width) }
    })
  }

  private example(copy: Copy, badness: number, primary: Answer, own: Answer, batch: Batch | null, r: number): Example {
    const { rows, pair, primaryCode, code } = copy
    const { arena, clock } = this.options
    const whole = batch !== null && batch.rowBegin[r + 1]! - batch.rowBegin[r]! === rows
    const [primaries, copies] = [pair.primary, pair.copy].map((version) => version.description.signature.outputs)
    return {
      at: new Date(clock.nowMs()).toISOString(),
      id: String((BigInt(copy.idHi) << 32n) | BigInt(copy.idLo)),
      rulesVersion: copy.rulesVersion,
      rows,
      difference: badness > 0 && badness < Infinity ? badness : null,
      inputs: whole ? shownInputs(batch, r, arena.memory) : null,
      primary: { code: codeNames[primaryCode]!, outputs: primary && shownOutputs(primaries!, primary, rows) },
      copy: { code: codeNames[code]!, outputs: own && shownOutputs(copies!, own, rows) },
    }
  }

  private finish(copy: Copy): void {
    if (copy.answer !== null) this.kept.release(copy.answer)
    copy.answer = null
    this.copies.finish(copy)
  }
}
