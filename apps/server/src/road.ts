import { assert, Code, codeNames, fnv1a64, nowUs, type Arena, type U64 } from '@millrace/base'
import { admit, Header, longestWaiting, type Batch, type BatchQueue } from '@millrace/batch'
import type { Pool } from '@millrace/pool'
import { lookUp, type Table } from '@millrace/rules'
import {
  copyInputs,
  describeFault,
  encodeReply,
  Flag,
  heapBytesOf,
  Matched,
  matchInputs,
  RequestView,
  textAt,
  verifyRequest,
  type RouteMessage,
} from '@millrace/wire'
import type { RunTask } from '@millrace/worker'
import { Calls, CallState } from './calls'
import type { Caller } from './caller'
import type { Config } from './config'
import { PartialReply } from './partial-reply'
import { ReplyTemplates } from './reply-templates'
import type { ServedVersion } from './served-version'

/** What a subject's decimal digits are hashed from: a u64 has at most 20. */
const digitsMax = 20
const sweepMs = 50
const codes = codeNames.length

export interface RoadOptions {
  readonly config: Config
  readonly arena: Arena
  /** By the repository's version index; null where the version is not ready. */
  readonly versions: readonly (ServedVersion | null)[]
  /** Why each version that is not ready is not. */
  readonly reasons: readonly string[]
  readonly table: Table
  /** In the order in which they are offered work. */
  readonly pools: readonly RoadPool[]
}

/** A pool and the queues of the versions that are ready on it. */
export interface RoadPool {
  readonly pool: Pool
  readonly interactive: readonly BatchQueue[]
  readonly bulk: readonly BatchQueue[]
}

interface LookUpParts {
  readonly route: number
  readonly objectiveLo: number
  readonly objectiveHi: number
  readonly words: Uint32Array
  readonly begin: number
  readonly length: number
}

/**
 * The road of a request on the front thread: verify, look up, match, admit, dispatch, reply. Everything on it is
 * integers and bytes; one call of `serve` allocates a view or two and, when the request is refused, its reply.
 */
export class Road {
  readonly calls: Calls
  /** Requests answered, by `route * 17 + code`; those that were not routed come after the last route. */
  readonly answers: Float64Array
  /** No new work: the lane drains. */
  draining = false
  private readonly templates: ReplyTemplates
  private readonly routes: readonly RouteMessage[]
  private readonly words: Uint32Array
  private readonly view = new RequestView()
  private readonly matched = new Matched()
  /** Hash of the objective that was looked up last. */
  private readonly objective: U64 = { lo: 0, hi: 0 }
  private readonly digits = new Uint32Array(Math.ceil(digitsMax / 4))
  private readonly digitBytes = Buffer.from(this.digits.buffer)
  private digitsLength = 0
  private readonly sweeper: NodeJS.Timeout
  /** The clock is read once for all that one turn of the event loop brings. */
  private nowUs = 0
  private turning = false
  private lingering = false
  private readonly mayLinger: boolean
  private rowsWaiting = 0
  // What `answerRun` answers: a run of one batch's requests that came from one caller.
  private batch!: Batch
  private from = 0
  private to = 0

  constructor(private readonly options: RoadOptions) {
    const { table, versions, arena, config } = options
    this.calls = new Calls(config.requestsInFlightMax)
    this.answers = new Float64Array((table.routes.length + 1) * codes)
    this.words = new Uint32Array(arena.memory)
    this.routes = table.routes.map(({ workflow, version, rule, cell }) => {
      return { workflow, version, rule, cell, rulesVersion: table.version }
    })
    this.templates = new ReplyTemplates((route) => {
      const version = versions[table.routes[route]!.versionIndex]!
      return { message: this.routes[route]!, signature: version!.description.signature }
    })
    this.mayLinger = versions.some((version) => version !== null && version.description.batchWaitUs > 0)
    this.sweeper = setInterval(() => this.sweep(), sweepMs).unref()
  }

  /**
   * Serves the request of `length` bytes at `base` of `buffer`, which is read before this returns. The caller gets
   * exactly one reply, now (a refusal) or later.
   *
   * @param item handed back with the reply
   * @param dryRun only decide, as if the request asked for it
   */
  serve(caller: Caller, item: number, buffer: ArrayBufferLike, base: number, length: number, dryRun: boolean): void {
    const { view, matched, calls } = this
    const { config, versions } = this.options
    if (!verifyRequest(buffer, base, length, view))
      return this.refuse(caller, item, -1, Code.INVALID_ARGUMENT, describeFault(view))
    const now = this.tick()
    const route = this.lookUp()
    if (route < 0) return this.refuse(caller, item, -1, Code.NOT_FOUND, this.unknownObjective())
    if (view.overrideBegin !== 0)
      return this.refuse(caller, item, route, Code.PERMISSION_DENIED, 'override: no caller is allowed it on this server')
    if (this.draining)
      return this.refuse(caller, item, route, Code.UNAVAILABLE, 'the server is stopping; send it to another')
    const version = versions[this.options.table.routes[route]!.versionIndex]!
    if (version === null) return this.refuse(caller, item, route, Code.UNAVAILABLE, this.notReady(route))
    if (dryRun || (view.flags & Flag.DryRun) !== 0) return this.answerRoute(caller, item, route)
    if (!matchInputs(view, version.intake, matched))
      return this.refuse(caller, item, route, Code.INVALID_ARGUMENT, matched.fault)
    const { rows } = matched
    if (rows > config.requestRowsMax)
      return this.refuse(caller, item, route, Code.INVALID_ARGUMENT, this.tooManyRows(rows))
    const queue = view.priority === 1 ? version.bulk : version.interactive
    if (queue.rowsWaiting + rows > queue.queueRowsMax)
      return this.refuse(caller, item, route, Code.RESOURCE_EXHAUSTED, this.queueFull(version))
    const call = calls.take()
    if (call < 0) return this.refuse(caller, item, route, Code.RESOURCE_EXHAUSTED, this.tooManyCalls())

    calls.caller[call] = caller
    calls.item[call] = item
    calls.idLo[call] = view.idLo
    calls.idHi[call] = view.idHi
    calls.route[call] = route
    calls.rows[call] = rows
    calls.parts[call] = 0
    calls.timings[call] = view.flags & Flag.Timings
    calls.receivedUs[call] = now
    calls.deadlineUs[call] = now + (view.deadlineUs > 0 ? view.deadlineUs : config.deadlineMsDefault * 1000)
    if (rows <= queue.layout.rowsMax && this.admitPart(call, version, queue, 0, rows, matched.heapBytes, now)) return
    this.admitParts(call, version, queue, rows, now)
  }

  /** The route that a message would take, or -1; for those who must know the signature before they can ask. */
  routeOf(message: Uint8Array): number {
    if (!verifyRequest(message.buffer, message.byteOffset, message.byteLength, this.view)) return -1
    return this.lookUp()
  }

  /** Refuses the request that `routeOf` looked at just now. */
  refuseRouted(caller: Caller, item: number, route: number, code: Code, message: string): void {
    this.refuse(caller, item, route, code, message)
  }

  /** What a message is looked up by, and the route it would take (-1: none); for those who explain it. */
  lookUpParts(message: Uint8Array): LookUpParts {
    const { view } = this
    const route = this.routeOf(message)
    return {
      route,
      objectiveLo: this.objective.lo,
      objectiveHi: this.objective.hi,
      words: view.subjectIsNumber === 1 ? this.digits : view.words,
      begin: view.subjectIsNumber === 1 ? 0 : view.subjectBegin,
      length: view.subjectIsNumber === 1 ? this.digitsLength : view.subjectLength,
    }
  }

  /** The version of a route, or null while it is not ready. */
  versionOf(route: number): ServedVersion | null {
    return this.options.versions[this.options.table.routes[route]!.versionIndex] ?? null
  }

  /** Counts an answer to what never reached the road: a body that is no message, a path that is none. */
  countUnrouted(code: Code): void {
    this.answers[this.routes.length * codes + code]!++
  }

  /** Resolves when nothing waits for an answer. */
  async drained(): Promise<void> {
    while (this.calls.used > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  }

  close(): void {
    clearInterval(this.sweeper)
  }

  /** Looks the verified request up: the objective by its hash, the subject by its bytes or its digits. */
  private lookUp(): number {
    const { view, objective } = this
    const { table } = this.options
    objective.lo = view.objectiveLo
    objective.hi = view.objectiveHi
    if (objective.lo === 0 && objective.hi === 0 && view.objectiveBegin > 0) {
      const name = new Uint8Array(view.buffer as ArrayBuffer, view.base + view.objectiveBegin, view.objectiveLength)
      fnv1a64(name, 0, view.objectiveLength, objective)
    }
    if (view.subjectIsNumber === 0)
      return lookUp(table, objective.lo, objective.hi, view.words, view.subjectBegin, view.subjectLength)
    const number = (BigInt(view.subjectNumberHi) << 32n) | BigInt(view.subjectNumberLo)
    this.digitsLength = this.digitBytes.write(String(number), 'latin1')
    return lookUp(table, objective.lo, objective.hi, this.digits, 0, this.digitsLength)
  }

  /** Admits rows `from .. from + rows - 1`; false when they do not fit, and nothing is changed then. */
  private admitPart(
    call: number,
    version: ServedVersion,
    queue: BatchQueue,
    from: number,
    rows: number,
    heapBytes: number,
    now: number,
  ): boolean {
    if (heapBytes > queue.heapBytesMax) return false
    const batch = queue.room(rows, heapBytes, now)
    if (batch === null) return false
    const row = batch.rows
    const request = admit(batch, call, rows, from)
    const { layout } = queue
    batch.heapUsed = copyInputs(
      this.view,
      version.intake,
      this.matched,
      this.options.arena.bytes,
      this.words,
      batch.offset,
      layout.inputs,
      from,
      rows,
      row,
      request,
      batch.offset + layout.heap,
      batch.heapUsed,
    )
    this.calls.parts[call]!++
    this.rowsWaiting += rows
    return true
  }

  /** A request that one batch does not take, over as many as it needs: answered once, whole, or refused. */
  private admitParts(call: number, version: ServedVersion, queue: BatchQueue, rows: number, now: number): void {
    const { view, matched } = this
    for (let from = 0; from < rows; ) {
      let n = Math.min(queue.layout.rowsMax, rows - from)
      let heapBytes = heapBytesOf(view, version.intake, matched, from, n)
      while (heapBytes > queue.heapBytesMax && n > 1) {
        n = n >>> 1
        heapBytes = heapBytesOf(view, version.intake, matched, from, n)
      }
      if (!this.admitPart(call, version, queue, from, n, heapBytes, now)) {
        // Parts that are in already run for nobody: the call is answered, and freed when they are back.
        if (heapBytes > queue.heapBytesMax)
          this.fail(
            call,
            Code.INVALID_ARGUMENT,
            `inputs: row ${from} has ${heapBytes} bytes of strings and lists, at most ${queue.heapBytesMax} ` +
              `fit a slab (MILLRACE_SLAB_BYTES_MAX)`,
          )
        else this.fail(call, Code.RESOURCE_EXHAUSTED, this.arenaFull())
        return
      }
      from += n
    }
  }

  /** The time of this turn of the event loop; at its end, when every message is in, batches are dispatched. */
  private tick(): number {
    if (!this.turning) {
      this.turning = true
      this.nowUs = nowUs()
      setImmediate(this.turn)
    }
    return this.nowUs
  }

  private readonly turn = (): void => {
    this.turning = false
    this.dispatch()
  }

  /** Gives waiting batches to free threads: interactive before bulk, the longest waiting first, devices in their order. */
  private dispatch(): void {
    if (this.rowsWaiting === 0) return
    for (const on of this.options.pools) {
      while (on.pool.free > 0) {
        const queue = this.next(on)
        if (queue === null) break
        this.run(on.pool, queue)
      }
    }
    if (this.rowsWaiting > 0) this.linger()
  }

  private next({ interactive, bulk }: RoadPool): BatchQueue | null {
    let q = longestWaiting(interactive, this.nowUs)
    if (q >= 0) return interactive[q]!
    q = longestWaiting(bulk, this.nowUs)
    return q >= 0 ? bulk[q]! : null
  }

  /** Where rows wait for company (`batchWaitUs`): looks again in a millisecond, the finest that timers have. */
  private linger(): void {
    if (this.lingering || !this.mayLinger) return
    this.lingering = true
    setTimeout(() => {
      this.lingering = false
      this.nowUs = nowUs()
      this.dispatch()
    }, 1)
  }

  private run(pool: Pool, queue: BatchQueue): void {
    const batch = queue.take(this.nowUs)
    this.rowsWaiting -= batch.rows
    const task: RunTask = {
      kind: 'run',
      version: queue.id,
      rowsMax: queue.layout.rowsMax,
      offset: batch.offset,
      blockBytes: batch.blockBytes,
    }
    pool.run(task).then(
      () => this.finish(batch),
      (error: unknown) => this.lose(batch, error),
    )
  }

  /** A batch ran: answers its requests, each caller's in one go, and gives its slab back. */
  private finish(batch: Batch): void {
    const now = (this.nowUs = nowUs())
    const { calls } = this
    const version = this.options.versions[batch.queue.id]!
    const header = batch.offset >>> 2
    version.batchRows.observe(batch.rows)
    version.factsUs.observe(this.words[header + Header.factsUs]!, batch.requests)
    version.scoreUs.observe(this.words[header + Header.scoreUs]!, batch.requests)
    this.observeWaits(version, batch, now)
    this.batch = batch
    for (let r = 0; r < batch.requests; r = this.to) {
      const caller = calls.caller[batch.call[r]!]!
      this.from = r
      this.to = r + 1
      while (this.to < batch.requests && calls.caller[batch.call[this.to]!] === caller) this.to++
      if (caller === null || caller.closed) this.answerRun()
      else caller.cork(this.answerRun)
    }
    batch.queue.free(batch)
    this.dispatch()
  }

  /** Requests of one turn were received at one time: each run of them is one observation. */
  private observeWaits(version: ServedVersion, batch: Batch, now: number): void {
    const { receivedUs } = this.calls
    for (let r = 0; r < batch.requests; ) {
      const received = receivedUs[batch.call[r]!]!
      const begin = r
      while (r < batch.requests && receivedUs[batch.call[r]!] === received) r++
      version.queueUs.observe(batch.takenUs - received, r - begin)
      version.totalUs.observe(now - received, r - begin)
    }
  }

  private readonly answerRun = (): void => {
    const { batch } = this
    const version = this.options.versions[batch.queue.id]!
    const refused = this.words[(batch.offset >>> 2) + Header.refused] === 1
    const codesAt = (batch.offset + batch.queue.layout.codes) >>> 2
    for (let r = this.from; r < this.to; r++) {
      const call = batch.call[r]!
      if (this.calls.state[call] === CallState.waiting) {
        const code = refused ? this.words[codesAt + r]! : Code.OK
        if (code !== Code.OK) this.fail(call, code as Code, this.messageOf(batch, r))
        else if (this.nowUs > this.calls.deadlineUs[call]!) this.expire(call)
        else this.answer(call, version, batch, r)
      }
      this.calls.returned(call)
    }
  }

  private answer(call: number, version: ServedVersion, batch: Batch, r: number): void {
    const { calls } = this
    if (version.dense && calls.parts[call] === 1 && calls.partial[call] === null)
      return this.send(call, this.patched(call, version, batch, r), Code.OK)
    const partial = (calls.partial[call] ??= new PartialReply(version.description.signature))
    partial.add(batch, r, this.options.arena.memory)
    if (calls.parts[call]! > 1) return
    const reply = encodeReply({
      id: this.idOf(call),
      code: 'OK',
      message: '',
      route: this.routes[calls.route[call]!]!,
      outputs: partial.columns(calls.rows[call]!),
      timings: calls.timings[call] === 1 ? this.timingsOf(call, batch) : null,
    })
    this.send(call, reply, Code.OK)
  }

  /** The template of the call's route and rows with its id, its outputs and its timings in place. */
  private patched(call: number, version: ServedVersion, batch: Batch, r: number): Uint8Array {
    const { calls, words } = this
    const template = this.templates.of(calls.route[call]!, calls.rows[call]!, calls.timings[call]!)
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
      else template.bytes.set(this.options.arena.bytes.subarray(from, from + bytes), to)
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

  /** The thread died, or broke in a way that is ours: its batch's requests are answered at once. */
  private lose(batch: Batch, error: unknown): void {
    this.nowUs = nowUs()
    const version = this.options.versions[batch.queue.id]!
    const why = error instanceof Error ? error.message : String(error)
    for (let r = 0; r < batch.requests; r++) {
      const call = batch.call[r]!
      if (this.calls.state[call] === CallState.waiting)
        this.fail(
          call,
          Code.UNAVAILABLE,
          `the thread that ran ${version.label} ended before it answered (${why}); send the request again`,
        )
      this.calls.returned(call)
    }
    batch.queue.free(batch)
    this.dispatch()
  }

  /** Answers, at their deadline, calls whose batch has not come back. */
  private sweep(): void {
    const { calls } = this
    if (calls.waiting === 0) return
    this.nowUs = nowUs()
    for (let call = 0; call < calls.capacity; call++)
      if (calls.state[call] === CallState.waiting && calls.deadlineUs[call]! < this.nowUs) this.expire(call)
    this.dispatch()
  }

  private expire(call: number): void {
    const { deadlineUs, receivedUs } = this.calls
    const budgetMs = Math.round(deadlineUs[call]! - receivedUs[call]!) / 1000
    this.fail(call, Code.DEADLINE_EXCEEDED, `deadline_us: no answer within the ${budgetMs} ms that the request gave`)
  }

  private fail(call: number, code: Code, message: string): void {
    const reply = encodeReply({
      id: this.idOf(call),
      code: codeNames[code]!,
      message,
      route: this.routes[this.calls.route[call]!]!,
      outputs: [],
      timings: null,
    })
    this.send(call, reply, code)
  }

  /** The one place where a call is answered. */
  private send(call: number, reply: Uint8Array, code: number): void {
    const { calls } = this
    const caller = calls.caller[call]!
    assert(caller !== null, 'a waiting call has a caller')
    this.answers[calls.route[call]! * codes + code]!++
    const item = calls.item[call]!
    calls.answered(call)
    if (!caller.closed) caller.reply(reply, item, code)
  }

  /** Refuses what the view holds, before it became a call. */
  private refuse(caller: Caller, item: number, route: number, code: Code, message: string): void {
    this.answers[(route < 0 ? this.routes.length : route) * codes + code]!++
    if (caller.closed) return
    const reply = encodeReply({
      id: this.viewId(),
      code: codeNames[code]!,
      message,
      route: route < 0 ? null : this.routes[route]!,
      outputs: [],
      timings: null,
    })
    caller.reply(reply, item, code)
  }

  private answerRoute(caller: Caller, item: number, route: number): void {
    this.answers[route * codes + Code.OK]!++
    const reply = { id: this.viewId(), code: 'OK', message: '', route: this.routes[route]!, outputs: [], timings: null } as const
    caller.reply(encodeReply(reply), item, Code.OK)
  }

  private viewId(): bigint {
    return (BigInt(this.view.idHi) << 32n) | BigInt(this.view.idLo)
  }

  private idOf(call: number): bigint {
    return (BigInt(this.calls.idHi[call]!) << 32n) | BigInt(this.calls.idLo[call]!)
  }

  private messageOf(batch: Batch, r: number): string {
    const { layout } = batch.queue
    const span = (batch.offset + layout.messages + 8 * r) >>> 2
    const begin = batch.offset + layout.heap + this.words[span]!
    return Buffer.from(this.options.arena.memory as unknown as ArrayBuffer, begin, this.words[span + 1]!).toString('utf8')
  }

  private unknownObjective(): string {
    const { view } = this
    const { objectives } = this.options.table
    const asked =
      view.objectiveBegin > 0
        ? `'${textAt(view, view.objectiveBegin, Math.min(view.objectiveLength, 100))}'`
        : `hash ${((BigInt(view.objectiveHi) << 32n) | BigInt(view.objectiveLo)).toString(16)}`
    const known = objectives.length > 10 ? `${objectives.slice(0, 10).join(', ')} and ${objectives.length - 10} more` : objectives.join(', ')
    return `objective: ${asked} is not served here; there are ${known}`
  }

  private notReady(route: number): string {
    const { workflow, version, versionIndex } = this.options.table.routes[route]!
    return `${workflow}@${version} is not ready: ${this.options.reasons[versionIndex] ?? 'it is not loaded'}`
  }

  private tooManyRows(rows: number): string {
    return `inputs: ${rows} rows, at most ${this.options.config.requestRowsMax} (MILLRACE_REQUEST_ROWS_MAX)`
  }

  private queueFull({ label, interactive }: ServedVersion): string {
    return `${label} has ${interactive.queueRowsMax} rows waiting already (MILLRACE_QUEUE_ROWS_MAX); send it later`
  }

  private tooManyCalls(): string {
    return `this lane holds ${this.calls.max} requests already (MILLRACE_REQUESTS_IN_FLIGHT_MAX); send it later`
  }

  private arenaFull(): string {
    return `no slab is free in the ${this.options.arena.totalBytes} bytes of MILLRACE_ARENA_BYTES; send it later`
  }
}
