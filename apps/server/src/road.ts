import { Code, systemClock, type Arena, type Clock } from '@millrace/base'
import type { Batch } from '@millrace/batch'
import { NoRoute, routingKey } from '@millrace/rules'
import {
  describeFault,
  Flag,
  Matched,
  matchInputs,
  RequestView,
  verifyRequest,
  type ResolvedMessage,
} from '@millrace/wire'
import { noAllocator, type Allocator } from './allocator'
import { Admission } from './admission'
import { Answers } from './answers'
import { ArenaShares } from './arena-shares'
import { Calls } from './calls'
import type { Caller } from './caller'
import type { Config } from './config'
import { Dispatcher, type BatchOwner, type RoadPool } from './dispatcher'
import { holderOf, observeRoom } from './fair-queue'
import { Identity, mayNot } from './identity'
import { AnswerCounts, Mapping } from './mapping'
import { Places } from './places'
import { observeBatch } from './pool-limits'
import { Right, type Principal } from './principal'
import { readContext } from './read-context'
import {
  heldTooMuch,
  notReady,
  overrideRefused,
  queueFull,
  saysTooMuch,
  tooLate,
  tooManyCalls,
  tooManyRows,
  unknownObjective,
} from './refusals'
import type { Refused } from './refused'
import { decisionRefused, Router } from './router'
import type { Recorder } from './recorder'
import type { ServedVersion } from './served-version'
import { Shadows } from './shadow/shadows'
import { ShadowTallies } from './shadow/tally'
import { TenantCounts } from './tenant-counts'
import type { Routed, Versions } from './versions'

const sweepMs = 50
/** Turns of the event loop that bring requests before those are dispatched. */
const turnsMax = 8

export interface RoadOptions {
  readonly config: Config
  readonly arena: Arena
  readonly versions: Versions
  /** Asked for cells by the rules; default cells decide unless given. */
  readonly allocator?: Allocator
  /** The rules in force. */
  readonly routed: Routed
  /** In the order in which they are offered work. */
  readonly pools: readonly RoadPool[]
  readonly clock?: Clock
  /** Where a sample of the requests is written. */
  readonly recorder?: Recorder | undefined
  /** Told what operators should know. */
  readonly warn?: (message: string) => void
}

/**
 * The road of a request on the front thread: verify, look up, match, admit, dispatch, reply. Everything on it is
 * integers and bytes; one call of `serve` allocates a view or two and, when the request is refused, its reply.
 */
export class Road implements BatchOwner {
  readonly calls: Calls
  readonly answers: Answers
  readonly counts = new AnswerCounts()
  readonly tenants: TenantCounts
  readonly router: Router
  readonly shadows: Shadows
  /** What shadows showed. */
  readonly tallies = new ShadowTallies()
  /** No new work: the lane drains. */
  draining = false
  private readonly dispatcher: Dispatcher
  private readonly words: Uint32Array
  private readonly view = new RequestView()
  private readonly matched = new Matched()
  private readonly places: Places
  private readonly identity: Identity
  private readonly admission: Admission
  private readonly arenaShares: ArenaShares
  private readonly clock: Clock
  private readonly stopSweeping: () => void
  /** The clock is read once for all that one turn of the event loop brings. */
  private nowUs = 0
  /** When the request was received that goes on after it waited for an allocator; else 0. */
  private receivedUs = 0
  private turning = false
  private turns = 0
  /** Requests came in this turn. */
  private arrived = false

  constructor(private readonly options: RoadOptions) {
    const { routed, versions, arena, config, pools, clock = systemClock } = options
    this.clock = clock
    this.arenaShares = new ArenaShares(arena, () => this.shadows.giveWay())
    this.calls = new Calls(config.requestsInFlightMax, this.arenaShares)
    this.tenants = new TenantCounts(config.metricsTenantsMax)
    this.identity = new Identity(this.tenants)
    this.admission = new Admission(config, this.tenants)
    this.admission.map(routed.table)
    const mapping = new Mapping(routed, this.counts, this.tallies)
    this.router = new Router(config, options.allocator ?? noAllocator(clock), clock, sweepMs)
    this.router.map(mapping)
    const { warn = () => undefined } = options
    const { calls, counts } = this
    this.shadows = new Shadows({
      config,
      arena,
      versions,
      calls,
      counts,
      pools,
      clock,
      freed: () => this.dispatch(),
      draining: () => this.draining,
      warn,
    })
    this.answers = new Answers(calls, arena, versions, counts, this.tenants, this.shadows, mapping, clock)
    this.words = new Uint32Array(arena.memory)
    this.dispatcher = new Dispatcher(pools, this, clock, () => this.dispatch())
    this.places = new Places(
      this.view,
      this.matched,
      calls,
      this.answers,
      this.shadows,
      this.dispatcher,
      arena.totalBytes,
    )
    this.stopSweeping = clock.every(sweepMs, () => this.sweep())
  }

  /**
   * Serves the request of `length` bytes at `base` of `buffer`, which is read before this returns. The caller gets
   * exactly one reply, now (a refusal) or later.
   *
   * @param item handed back with the reply
   * @param dryRun only decide, as if the request asked for it
   * @returns false when the message is a list of requests: nothing was done
   */
  serve(caller: Caller, item: number, buffer: ArrayBufferLike, base: number, length: number, dryRun: boolean): boolean {
    const { view } = this
    if (verifyRequest(buffer, base, length, view)) {
      if (!dryRun) this.options.recorder?.see(buffer, base, length)
      this.serveVerified(caller, item, buffer, base, length, dryRun)
    } else if (view.isList) return false
    else this.atOnce(caller, item, -1, Code.INVALID_ARGUMENT, describeFault(view))
    return true
  }

  /** Serves what the view holds. */
  private serveVerified(
    caller: Caller,
    item: number,
    buffer: ArrayBufferLike,
    base: number,
    length: number,
    dryRun: boolean,
  ): void {
    const { view, matched, calls } = this
    const { config } = this.options
    const { mapping } = this
    const stranger = saysTooMuch(view, config.contextBytesMax) ?? this.identity.check(view, caller.party.who)
    if (stranger !== null) return this.refuse(caller, item, -1, stranger)
    const route = this.router.route(view, mapping)
    if (route === NoRoute.WAITS) return this.serveWhenAllocated(caller, item, buffer, base, length, dryRun)
    this.router.count(view, mapping, route)
    if (route === NoRoute.REFUSED)
      return this.refuse(caller, item, -1, overrideRefused(view, mapping.table, this.options.versions))
    if (route === decisionRefused) return this.refuse(caller, item, -1, this.router.refusal!)
    if (route < 0)
      return this.atOnce(caller, item, -1, Code.NOT_FOUND, unknownObjective(view, mapping.table.objectives))
    if (this.draining)
      return this.atOnce(caller, item, route, Code.UNAVAILABLE, 'the server is stopping; send it to another')
    const version = mapping.versions[route]!.served
    if (version === null || version.limits.length === 0)
      return this.atOnce(caller, item, route, Code.UNAVAILABLE, notReady(mapping.table.routes[route]!))
    const now = this.tick()
    const tenant = this.tenant()
    const limited = this.admission.came(route, tenant, caller.party, now)
    if (limited !== null) return this.atOnce(caller, item, route, Code.RESOURCE_EXHAUSTED, limited)
    if (dryRun || (view.flags & Flag.DryRun) !== 0) return this.resolve(caller, item, route)
    if (!matchInputs(view, version.intake, matched))
      return this.atOnce(caller, item, route, Code.INVALID_ARGUMENT, matched.fault)
    const { context } = version.intake
    if (context !== null && !readContext(view, mapping, mapping.enriched[route]!, context, view.traffic, matched))
      return this.atOnce(caller, item, route, Code.INVALID_ARGUMENT, matched.fault)
    const { rows } = matched
    if (rows > config.requestRowsMax)
      return this.atOnce(caller, item, route, Code.INVALID_ARGUMENT, tooManyRows(rows, config.requestRowsMax))
    const bulk = view.priority === 1
    const queue = bulk ? version.bulk : version.interactive
    const shares = bulk ? version.bulkShares : version.interactiveShares
    const holder = holderOf(caller.party.who, tenant)
    if (!shares.ask(holder, rows, now))
      return this.atOnce(caller, item, route, Code.RESOURCE_EXHAUSTED, heldTooMuch(version.label, bulk))
    if (queue.rowsWaiting + rows > queue.queueRowsMax)
      return this.atOnce(caller, item, route, Code.RESOURCE_EXHAUSTED, queueFull(version.label, queue.queueRowsMax))
    const received = this.receivedUs || now
    const budgetUs = view.deadlineUs > 0 ? view.deadlineUs : config.deadlineMsDefault * 1000
    const deadlineUs = received + budgetUs
    const mayTakeUs = queue.overdueUs(rows, deadlineUs - now, now)
    if (mayTakeUs > 0)
      return this.atOnce(caller, item, route, Code.DEADLINE_EXCEEDED, tooLate(version.label, mayTakeUs, budgetUs))
    const bytes = queue.bytesOf(rows, matched.heapBytes)
    const tooMuch = this.arenaShares.refuses(caller.party, holder, bytes)
    if (tooMuch !== null) return this.atOnce(caller, item, route, Code.RESOURCE_EXHAUSTED, tooMuch)
    const call = calls.take()
    if (call < 0) return this.atOnce(caller, item, route, Code.RESOURCE_EXHAUSTED, tooManyCalls(calls.max))

    calls.caller[call] = caller
    calls.item[call] = item
    calls.idLo[call] = view.idLo
    calls.idHi[call] = view.idHi
    calls.mapping[call] = mapping
    calls.route[call] = route
    calls.rows[call] = rows
    calls.parts[call] = 0
    calls.traffic[call] = view.traffic
    calls.tenant[call] = tenant
    calls.count(call, caller.party, this.admission.limitsOf(route), shares, holder, bytes)
    calls.timings[call] = view.flags & Flag.Timings
    calls.receivedUs[call] = received
    calls.deadlineUs[call] = deadlineUs
    if (this.places.take(call, version, queue, now) && mapping.shadowed[route] === 1)
      this.shadows.copy(call, view, mapping, route, now)
  }

  /** A function of its own: where a closure keeps what it was called with, each of its calls allocates. */
  private serveWhenAllocated(
    caller: Caller,
    item: number,
    buffer: ArrayBufferLike,
    base: number,
    length: number,
    dryRun: boolean,
  ): void {
    const copy = new Uint8Array(buffer, base, length).slice().buffer
    this.whenAllocated(length, () => {
      verifyRequest(copy, 0, length, this.view)
      this.serveVerified(caller, item, copy, 0, length, dryRun)
    })
  }

  /** From here on requests are decided by other rules; those that are under way keep what decided them. */
  map(routed: Routed): void {
    this.admission.map(routed.table)
    this.answers.mapping = new Mapping(routed, this.counts, this.tallies)
    this.router.map(this.mapping)
  }

  /** The route that a message would take, or less than 0; for those who must know the signature before they can ask. */
  routeOf(message: Uint8Array, who: Principal): number {
    const { view } = this
    if (!verifyRequest(message.buffer, message.byteOffset, message.byteLength, view)) return -1
    if (saysTooMuch(view, this.options.config.contextBytesMax) !== null) return -1
    return this.identity.check(view, who) === null ? this.router.route(view, this.mapping) : -1
  }

  /** Requests that are accepted and not answered. */
  get waiting(): number {
    return this.calls.waiting + this.router.allocator.waiting
  }

  /** Has `serve` called, for the request of `bytes` bytes that the view holds, when its subject's cells are known. */
  whenAllocated(bytes: number, serve: () => void): void {
    const received = this.tick()
    this.router.allocator.wait(this.view, bytes, () => {
      this.receivedUs = received
      serve()
      this.receivedUs = 0
    })
  }

  /** Refuses the request that `routeOf` looked at just now. */
  refuseRouted(caller: Caller, item: number, route: number, code: Code, message: string): void {
    this.atOnce(caller, item, route, code, message)
  }

  /** The version of a route, or null while it is not ready. */
  versionOf(route: number): ServedVersion | null {
    return this.mapping.versions[route]!.served
  }

  taken(batch: Batch): boolean {
    return this.answers.isWanted(batch, this.nowUs)
  }

  ran(batch: Batch): void {
    this.nowUs = this.clock.nowUs()
    this.answers.leaveOut(batch, this.nowUs)
    if (batch.requests > 0) {
      const version = this.options.versions.of(batch)
      observeBatch(version, batch, this.words, this.nowUs, this.calls)
      observeRoom(version, batch, this.words, this.options.pools[batch.pool]!.pool.ready || 1)
      this.answers.batchRan(batch, this.nowUs)
    } else batch.queue.free(batch)
    this.offer()
  }

  /** Answers the callers of the batch in the slab at `offset`, which runs for too long. */
  timedOut(offset: number): void {
    this.nowUs = this.clock.nowUs()
    for (const batch of this.dispatcher.running) if (batch.offset === offset) this.answers.timedOut(batch, this.nowUs)
  }

  /** Answers what waits for a version that no pool runs any more. */
  abandon(version: ServedVersion): void {
    const error = new Error('no pool can load it again')
    for (const queue of [version.interactive, version.bulk])
      while (queue.oldestUs(Infinity) !== Infinity) {
        const batch = queue.take(this.clock.nowUs())
        this.dispatcher.rowsWaiting -= batch.rows
        this.lost(batch, error)
      }
    this.shadows.abandon(version)
  }

  lost(batch: Batch, error: Error): void {
    this.answers.batchLost(batch, error, this.clock.nowUs())
    batch.queue.free(batch)
    this.dispatch()
  }

  close(): void {
    this.stopSweeping()
  }

  /** The rules in force. */
  private get mapping(): Mapping {
    return this.answers.mapping
  }

  /** The time of this turn of the event loop; at its end, when every message is in, batches are dispatched. */
  private tick(): number {
    this.arrived = true
    if (!this.turning) {
      this.turning = true
      this.nowUs = this.clock.nowUs()
      this.clock.defer(this.turn)
    }
    return this.nowUs
  }

  /**
   * The end of a turn. While the sockets keep bringing requests, a few more turns go by first: one wake-up of a thread
   * costs as much as some fifty requests, and an event loop with something deferred does not sleep between them.
   */
  private readonly turn = (): void => {
    if (this.arrived && ++this.turns < turnsMax) {
      this.arrived = false
      return this.clock.defer(this.turn)
    }
    this.turning = false
    this.turns = 0
    this.offer()
  }

  /** Threads may have what waits: there are more of them, or a pool serves a version again. */
  dispatch(): void {
    this.nowUs = this.clock.nowUs()
    this.offer()
  }

  /** Gives free threads what waits: requests, and what they leave to copies. */
  private offer(): void {
    this.dispatcher.dispatch(this.nowUs)
    if (this.shadows.runner.rowsWaiting > 0) this.shadows.runner.dispatch(this.nowUs)
  }

  /** Answers, at their deadline, calls whose batch has not come back, and lets go of those whose caller is gone. */
  private sweep(): void {
    this.router.recent.refill()
    this.shadows.sweep(this.clock.nowUs())
    if (this.calls.used === 0) return
    this.nowUs = this.clock.nowUs()
    this.answers.expireAll(this.nowUs)
    for (const batch of this.dispatcher.running) this.answers.giveUpDead(batch, this.nowUs)
    this.offer()
  }

  private refuse(caller: Caller, item: number, route: number, { code, message }: Refused): void {
    this.atOnce(caller, item, route, code, message)
  }

  /** Answers what the view holds without running it. */
  private atOnce(
    caller: Caller,
    item: number,
    route: number,
    code: Code,
    message: string,
    resolved?: ResolvedMessage,
  ): void {
    const { idLo, idHi, traffic } = this.view
    this.answers.atOnce(caller, item, idLo, idHi, route, traffic, this.tenant(), code, message, resolved)
  }

  /** Where the request that the view holds is counted. */
  private tenant(): number {
    const { words, tenantBegin, tenantLength } = this.view
    return this.tenants.of(words, tenantBegin, tenantLength)
  }

  /** Answers what would answer. */
  private resolve(caller: Caller, item: number, route: number): void {
    const { view, mapping } = this
    const { who } = caller.party
    if ((who.may & Right.resolve) === 0) return this.refuse(caller, item, route, mayNot(who, 'resolve'))
    const { workflow, version } = mapping.table.routes[route]!
    const resolved = { routingKey: routingKey(workflow, version), decision: this.router.sign(view, mapping, route) }
    this.atOnce(caller, item, route, Code.OK, '', resolved)
  }
}
