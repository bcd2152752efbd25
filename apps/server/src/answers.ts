import { assert, Code, codeNames, type Arena, type Clock } from '@millrace/base'
import { followLeftOut, giveUp, Header, type Batch } from '@millrace/batch'
import { encodeReply, type ResolvedMessage, type RouteMessage } from '@millrace/wire'
import { CallState, type Calls } from './calls'
import type { Caller } from './caller'
import type { AnswerCounts, Mapping } from './mapping'
import { Outgoing } from './outgoing'
import { PartialReply } from './partial-reply'
import { batchTimedOut } from './refusals'
import { RefusalTemplates } from './refusal-templates'
import type { ServedVersion } from './served-version'
import type { Shadows } from './shadow/shadows'
import { noTenant, type TenantCounts } from './tenant-counts'
import type { Versions } from './versions'

/** The way back: every call is answered here, once, and counted. */
export class Answers {
  private readonly words: Uint32Array
  private nowUs = 0
  /** Of which requests are being answered. */
  private batch!: Batch
  private readonly outgoing: Outgoing

  constructor(
    private readonly calls: Calls,
    private readonly arena: Arena,
    private readonly versions: Versions,
    private readonly counts: AnswerCounts,
    private readonly tenants: TenantCounts,
    private readonly shadows: Shadows,
    /** The rules in force. */
    public mapping: Mapping,
    clock: Clock,
  ) {
    this.words = new Uint32Array(arena.memory)
    const begin = (): void => void (this.nowUs = clock.nowUs())
    this.outgoing = new Outgoing(calls.caller, clock, begin, this.answerRun)
  }

  /** Answers a request that did not become a call; `route` is -1 when it was not routed. */
  atOnce(
    caller: Caller,
    item: number,
    idLo: number,
    idHi: number,
    route: number,
    traffic: number,
    tenant: number,
    code: Code,
    message: string,
    resolved?: ResolvedMessage,
  ): void {
    this.count(route, code, traffic, tenant)
    if (caller.closed) return
    const { messages, refusals } = this.mapping
    if (RefusalTemplates.takes(code)) return caller.reply(refusals.of(route, code, message, idLo, idHi), item, code)
    const id = wide(idLo, idHi)
    const routed = route < 0 ? null : messages[route]!
    const reply = { id, code: codeNames[code]!, message, route: routed, outputs: [], timings: null, resolved }
    caller.reply(encodeReply(reply), item, code)
  }

  /** Counts an answer that is given elsewhere. */
  count(route: number, code: Code, traffic = 0, tenant = noTenant): void {
    this.counted(route < 0 ? 0 : this.mapping.countsAt[route]!, traffic, tenant, code)
  }

  /** Answers the requests of a batch that ran at the end of this turn of the event loop, and gives its slab back. */
  batchRan(batch: Batch, nowUs: number): void {
    const version = this.versions.of(batch)
    const header = batch.offset >>> 2
    version.batchRows.observe(batch.rows)
    version.factsUs.observe(this.words[header + Header.factsUs]!, batch.requests)
    version.scoreUs.observe(this.words[header + Header.scoreUs]!, batch.requests)
    this.observeWaits(version, batch, nowUs)
    this.outgoing.add(batch)
  }

  /** Answers the requests of a batch whose thread is gone. */
  batchLost(batch: Batch, error: unknown, nowUs: number): void {
    this.nowUs = nowUs
    const version = this.versions.of(batch)
    const why = error instanceof Error ? error.message : String(error)
    for (let r = 0; r < batch.requests; r++) {
      const call = batch.call[r]!
      // It may have been left out for its deadline.
      if (this.calls.deadlineUs[call]! >= nowUs && this.calls.state[call] === CallState.waiting)
        this.fail(
          call,
          Code.UNAVAILABLE,
          `the thread that ran ${version.label} ended before it answered (${why}); send the request again`,
        )
      this.leftOut(call)
    }
  }

  /** Whether a batch that is to run has a request that somebody waits for. Its slab is given back when it has none. */
  isWanted(batch: Batch, nowUs: number): boolean {
    if (this.giveUpDead(batch, nowUs) > 0) return true
    for (let r = 0; r < batch.requests; r++) this.leftOut(batch.call[r]!)
    batch.queue.free(batch)
    return false
  }

  /** Has requests not run that nobody waits for, unless they have begun to. Returns how many are left. */
  giveUpDead(batch: Batch, nowUs: number): number {
    const { state, caller, deadlineUs } = this.calls
    this.nowUs = nowUs
    let left = 0
    for (let r = 0; r < batch.requests; r++) {
      const call = batch.call[r]!
      if (deadlineUs[call]! <= nowUs) batch.queue.press()
      if (state[call] !== CallState.waiting || caller[call]!.closed) giveUp(batch, r)
      else if (deadlineUs[call]! > nowUs) left++
    }
    return left
  }

  /** Answers the requests of a batch that did not run with it; the others are its requests from here on. */
  leaveOut(batch: Batch, nowUs: number): void {
    this.nowUs = nowUs
    followLeftOut(batch, this.leftOut)
  }

  /** Answers the callers of a batch that runs for too long; its slab comes back when its thread is done or gone. */
  timedOut(batch: Batch, nowUs: number): void {
    this.nowUs = nowUs
    const message = batchTimedOut(this.versions.of(batch).label, nowUs - batch.takenUs)
    for (let r = 0; r < batch.requests; r++)
      if (this.calls.state[batch.call[r]!] === CallState.waiting)
        this.fail(batch.call[r]!, Code.DEADLINE_EXCEEDED, message)
  }

  /** Answers calls whose deadline is over before their batch is back, and lets go of those whose caller is gone. */
  expireAll(nowUs: number): void {
    const { calls } = this
    if (calls.waiting === 0) return
    this.nowUs = nowUs
    for (let call = 0; call < calls.capacity; call++) {
      if (calls.state[call] !== CallState.waiting) continue
      if (calls.caller[call]!.closed) this.cancel(call)
      else if (calls.deadlineUs[call]! < nowUs) this.expire(call)
    }
  }

  /** Answers every call that waits with a refusal. */
  failAll(code: Code, message: string): void {
    for (let call = 0; call < this.calls.capacity; call++)
      if (this.calls.state[call] === CallState.waiting) this.fail(call, code, message)
  }

  /** Answers a call with a refusal. */
  fail(call: number, code: Code, message: string): void {
    if (RefusalTemplates.takes(code)) {
      const { idLo, idHi, mapping, route } = this.calls
      const { refusals } = mapping[call]!
      return this.send(call, refusals.of(route[call]!, code, message, idLo[call]!, idHi[call]!), code)
    }
    const reply = encodeReply({
      id: this.idOf(call),
      code: codeNames[code]!,
      message,
      route: this.routeOf(call),
      outputs: [],
      timings: null,
    })
    this.send(call, reply, code)
  }

  /** Requests of one turn were received at one time: each run of them is one observation. */
  private observeWaits(version: ServedVersion, batch: Batch, nowUs: number): void {
    const { receivedUs } = this.calls
    for (let r = 0; r < batch.requests; ) {
      const received = receivedUs[batch.call[r]!]!
      const begin = r
      while (r < batch.requests && receivedUs[batch.call[r]!] === received) r++
      version.queueUs.observe(batch.takenUs - received, r - begin)
      version.totalUs.observe(nowUs - received, r - begin)
    }
  }

  /** Answers requests `from .. to - 1` of a batch that ran. */
  private readonly answerRun = (batch: Batch, from: number, to: number): void => {
    this.batch = batch
    const version = this.versions.of(batch)
    const refused = this.words[(batch.offset >>> 2) + Header.refused] === 1
    const codesAt = (batch.offset + batch.queue.layout.codes) >>> 2
    for (let r = from; r < to; r++) {
      const call = batch.call[r]!
      if (this.calls.state[call] === CallState.waiting) {
        const code = refused ? this.words[codesAt + r]! : Code.OK
        if (code !== Code.OK) this.fail(call, code as Code, this.messageOf(batch, r))
        else if (this.nowUs > this.calls.deadlineUs[call]!) {
          batch.queue.press()
          this.expire(call)
        } else this.answer(call, version, batch, r)
      }
      this.calls.returned(call)
    }
  }

  /** A request is out of its batch without having run. */
  private readonly leftOut = (call: number): void => {
    if (this.calls.state[call] === CallState.waiting) {
      if (this.calls.caller[call]!.closed) this.cancel(call)
      else this.expire(call)
    }
    this.calls.returned(call)
  }

  private answer(call: number, version: ServedVersion, batch: Batch, r: number): void {
    const { calls } = this
    if (version.dense && calls.parts[call] === 1 && calls.partial[call] === null)
      return this.send(call, this.patched(call, version, batch, r), Code.OK)
    const partial = (calls.partial[call] ??= new PartialReply(version.description.signature))
    partial.add(batch, r, this.arena.memory)
    if (calls.parts[call]! > 1) return
    const reply = encodeReply({
      id: this.idOf(call),
      code: 'OK',
      message: '',
      route: this.routeOf(call),
      outputs: partial.columns(calls.rows[call]!),
      timings: calls.timings[call] === 1 ? this.timingsOf(call, batch) : null,
    })
    this.send(call, reply, Code.OK)
  }

  /** The template of the call's route and rows with its id, its outputs and its timings in place. */
  private patched(call: number, version: ServedVersion, batch: Batch, r: number): Uint8Array {
    const { calls, words } = this
    const template = calls.mapping[call]!.templates.of(calls.route[call]!, calls.rows[call]!, calls.timings[call]!)
    template.words[template.id] = calls.idLo[call]!
    template.words[template.id + 1] = calls.idHi[call]!
    const { outputs } = batch.queue.layout
    for (let c = 0; c < outputs.length; c++) {
      const first = version.outputPerRequest[c] === 1 ? r : batch.rowBegin[r]!
      const from = batch.offset + outputs[c]! + first * version.outputBytes[c]!
      const bytes = template.dataBytes[c]!
      const to = template.data[c]!
      if (bytes <= 96 && ((from | bytes) & 3) === 0)
        for (let w = 0; w < bytes >>> 2; w++) template.words[(to >>> 2) + w] = words[(from >>> 2) + w]!
      else template.bytes.set(this.arena.bytes.subarray(from, from + bytes), to)
    }
    if (template.timings >= 0) {
      const { queue, facts, score, total } = this.timingsOf(call, batch)
      template.words[template.timings] = queue
      template.words[template.timings + 1] = facts
      template.words[template.timings + 2] = score
      template.words[template.timings + 3] = total
    }
    return template.bytes
  }

  private timingsOf(call: number, batch: Batch): { queue: number; facts: number; score: number; total: number } {
    const received = this.calls.receivedUs[call]!
    const header = batch.offset >>> 2
    return {
      queue: Math.max(0, Math.round(batch.takenUs - received)),
      facts: this.words[header + Header.factsUs]!,
      score: this.words[header + Header.scoreUs]!,
      total: Math.max(0, Math.round(this.nowUs - received)),
    }
  }

  private expire(call: number): void {
    const { deadlineUs, receivedUs } = this.calls
    const budgetMs = Math.round(deadlineUs[call]! - receivedUs[call]!) / 1000
    this.fail(call, Code.DEADLINE_EXCEEDED, `deadline: no answer within the ${budgetMs} ms that the request gave`)
  }

  /** Nobody is there to be answered. */
  private cancel(call: number): void {
    this.send(call, nothing, Code.CANCELLED)
  }

  /** The one place where a call is answered. */
  private send(call: number, reply: Uint8Array, code: number): void {
    const { calls } = this
    const caller = calls.caller[call]!
    assert(caller !== null, 'a waiting call has a caller')
    const { countsAt, latencies } = calls.mapping[call]!
    const route = calls.route[call]!
    this.counted(countsAt[route]!, calls.traffic[call]!, calls.tenant[call]!, code)
    // One that came too late took at least so long.
    if (latencies[route] !== null && (code === Code.OK || code === Code.DEADLINE_EXCEEDED))
      latencies[route]!.observe(this.nowUs - calls.receivedUs[call]!)
    const item = calls.item[call]!
    const copy = calls.copies[call]!
    calls.answered(call)
    if (!caller.closed) caller.reply(reply, item, code)
    if (copy !== null) this.shadows.answered(copy, code as Code, reply, this.batch)
  }

  private counted(begin: number, traffic: number, tenant: number, code: number): void {
    this.counts.counts[begin + traffic * codeNames.length + code]!++
    this.tenants.counts[tenant * codeNames.length + code]!++
  }

  private routeOf(call: number): RouteMessage {
    return this.calls.mapping[call]!.messages[this.calls.route[call]!]!
  }

  private idOf(call: number): bigint {
    return wide(this.calls.idLo[call]!, this.calls.idHi[call]!)
  }

  private messageOf(batch: Batch, r: number): string {
    const { layout } = batch.queue
    const span = (batch.offset + layout.messages + 8 * r) >>> 2
    const begin = batch.offset + layout.heap + this.words[span]!
    return Buffer.from(this.arena.memory as unknown as ArrayBuffer, begin, this.words[span + 1]!).toString('utf8')
  }
}

function wide(lo: number, hi: number): bigint {
  return (BigInt(hi) << 32n) | BigInt(lo)
}

const nothing = new Uint8Array(0)
