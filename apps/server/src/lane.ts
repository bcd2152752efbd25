import { monitorEventLoopDelay, performance, type IntervalHistogram } from 'node:perf_hooks'
import { Arena, Code, Refusal } from '@millrace/base'
import { pinThread } from '@millrace/pool'
import { parseRules, RulesError, type RulesFile } from '@millrace/rules'
import { requestFromJson } from '@millrace/wire'
import { readRepository } from '@millrace/workflow'
import type { Config } from './config'
import type { RoadPool } from './dispatcher'
import { RoadDoor } from './door'
import { explainRequest } from './explain'
import type { NumberedRules } from './lane-messages'
import { describe, logPinning, logPlacement, openPool, type LanePool } from './lane-pools'
import { seatsOf, type LaneSeats } from './lane-seats'
import type { Log } from './log'
import { openTransport } from './open-transport'
import { followRamps } from './ramp-clock'
import { place, type PlacedDescription } from './placement'
import { Road } from './road'
import { RulesFeed } from './rules-feed'
import { snapshotOf, type LaneSnapshot } from './snapshot'
import { readTls, tlsFilesOf } from './tls'
import type { Transport } from './transport'
import { Versions, type Routed } from './versions'

/** Smallest block of the arena: what a batch of one small row takes. */
const slabBytesMin = 4096
/** What is left for sending at least, when answering took all the time to drain. */
const lastSendMs = 500

/** What a lane is made of, once it serves. */
export interface LaneParts {
  readonly index: number
  readonly config: Config
  readonly arena: Arena
  readonly versions: Versions
  readonly pools: readonly LanePool[]
  readonly road: Road
  readonly feed: RulesFeed
  readonly transport: Transport
  readonly eventLoop: IntervalHistogram
}

/** Rules in force. */
interface Mapped extends Routed {
  readonly stopRamps: () => void
}

/** One shared-nothing process: a front thread, its pools, its arena. */
export class Lane {
  private prepared: Routed | null = null

  private constructor(
    private readonly parts: LaneParts,
    private mapped: Mapped,
    private readonly log: Log,
  ) {}

  /**
   * Loads the repository on every thread, opens the port and serves. Versions that fail are named in the snapshot;
   * rejects when the lane itself cannot serve: rules that do not hold, a port that is taken, threads that do not start,
   * and when `loaded`, which is called before the port is opened, does.
   */
  static async start(
    config: Config,
    index: number,
    numbered: NumberedRules,
    log: Log,
    loaded: (descriptions: readonly PlacedDescription[]) => Promise<void>,
  ): Promise<Lane> {
    const repository = readRepository(config.repository)
    if (repository.versions.length === 0)
      throw new Error(`there is nothing to serve: ${repository.problems.join('; ') || `${repository.path} is empty`}`)
    for (const problem of repository.problems) log.warn(problem)
    const arena = new Arena(config.arenaBytes, slabBytesMin)
    const pools = config.pools.map((_, p) => openPool(p, index, config, repository.versions.length, arena, log))
    try {
      const described = await inTime(
        config.startTimeoutMs,
        'the threads of the pools did not load the repository (MILLRACE_START_TIMEOUT_MS)',
        Promise.all(pools.map(describe)),
      )
      described.forEach((threads, p) => logPinning(config.pools[p]!, threads, log))
      const descriptions = place(config.pools, described)
      logPlacement(descriptions, log)
      const roadPools = pools.map(({ pool }): RoadPool => ({ pool, interactive: [], bulk: [] }))
      const versions = new Versions(arena, config, roadPools)
      descriptions.forEach((description, v) => versions.add(v, description))
      const routed = versions.compile(parseRules(numbered.rules), numbered.version)
      const road = new Road({ config, arena, versions, routed, pools: roadPools })
      const loadedOn = pools.map((pool) => pool.loaded)
      for (const pool of pools)
        pool.onReplaced = () => {
          for (const version of versions.follow(loadedOn)) road.abandon(version)
        }
      await loaded(descriptions)
      const feed = new RulesFeed(numbered)
      const tls = tlsFilesOf(config, 'data')
      const transport = await openTransport(
        config.transport,
        {
          host: config.host,
          port: config.port,
          bodyBytesMax: config.requestBytesMax,
          unreadBytesMax: config.unreadBytesMax,
          allowedOrigins: config.allowedOrigins,
          tls: tls === null ? null : { files: tls, texts: readTls(tls) },
          door: new RoadDoor(road, feed, config.requestBytesMax),
        },
        log,
      )
      // Last: threads that were started until now may run on all CPUs of the lane, not on this one alone.
      pinFront(config, index, log)
      const eventLoop = monitorEventLoopDelay({ resolution: 10 })
      eventLoop.enable()
      const parts = {
        index,
        config,
        arena,
        versions,
        pools,
        road,
        feed,
        transport,
        eventLoop,
      }
      return new Lane(parts, { ...routed, stopRamps: followRamps(routed.table) }, log)
    } catch (error) {
      await Promise.all(pools.map(({ pool }) => pool.close()))
      throw error
    }
  }

  get port(): number {
    return this.parts.transport.port
  }

  /** Stops taking work, answers what was accepted, then closes; what takes longer than `drainMs` is refused. */
  async drain(): Promise<void> {
    const { road, transport, eventLoop, pools, config } = this.parts
    road.draining = true
    transport.stopListening()
    const end = performance.now() + config.drainMs
    await when(() => road.calls.waiting === 0, end)
    const left = road.calls.waiting
    if (left > 0) {
      this.log.warn({ left }, `${left} requests were not answered in MILLRACE_DRAIN_MS`)
      road.answers.failAll(Code.UNAVAILABLE, 'the server stopped before it was answered; send it to another')
    }
    await when(() => !transport.sending, Math.max(end, performance.now() + lastSendMs))
    transport.close()
    road.close()
    eventLoop.disable()
    this.mapped.stopRamps()
    // What still runs, runs for nobody.
    await Promise.all(pools.map(({ pool }) => pool.close(0)))
  }

  /** Compiles rules and holds them for `map`. Throws a Refusal that names what this lane cannot serve. */
  prepare({ version, rules }: NumberedRules): void {
    const routed = this.compiled(rules, version)
    const failed = new Set(
      routed.versions
        .map(({ description }) => description)
        .filter(({ state }) => state !== 'ready')
        .map(({ name, version, reason }) => `${name}@${version}: ${reason}`),
    )
    if (failed.size > 0)
      throw new Refusal(Code.FAILED_PRECONDITION, `not ready on lane ${this.parts.index}: ${[...failed].join('; ')}`)
    this.prepared = routed
  }

  private compiled(rules: RulesFile, version: number): Routed {
    try {
      return this.parts.versions.compile(parseRules(rules), version)
    } catch (error) {
      if (error instanceof RulesError) throw new Refusal(Code.FAILED_PRECONDITION, error.message)
      throw error
    }
  }

  /** Puts rules in force, prepared or not: the next request is decided by them. */
  map(numbered: NumberedRules): void {
    if (this.prepared?.table.version !== numbered.version) this.prepare(numbered)
    const routed = this.prepared!
    this.prepared = null
    this.mapped.stopRamps()
    this.parts.road.map(routed)
    this.parts.feed.publish(numbered)
    this.mapped = { ...routed, stopRamps: followRamps(routed.table) }
  }

  /** Which thread sits where, as the kernel tells. */
  seats(): LaneSeats {
    return seatsOf(this.parts)
  }

  snapshot(): LaneSnapshot {
    return snapshotOf(this.parts, this.mapped)
  }

  /** A snapshot whose event-loop delays are those since the scrape before it; the next one begins anew. */
  scrape(): LaneSnapshot {
    const snapshot = this.snapshot()
    this.parts.eventLoop.reset()
    return snapshot
  }

  /** Which rule decides for a request of the JSON twin, and why each other one does not. Throws a Refusal. */
  explain(json: unknown): unknown {
    const { table, versions } = this.mapped
    const explained = explainRequest(table.rules, requestFromJson(json).request)
    const { decision } = explained
    if (decision === null) return { ...explained, rules_version: table.version }
    const ready = versions.some(
      ({ served }) =>
        served !== null &&
        served.description.name === decision.workflow &&
        served.description.version === decision.version,
    )
    return { ...explained, decision: { ...decision, ready }, rules_version: table.version }
  }
}

function pinFront({ seating }: Config, lane: number, log: Log): void {
  const { error } = pinThread(seating.lanes[lane]!.front)
  if (error !== null) log.warn(`the front thread is not pinned: ${error}`)
}

/** Resolves when it holds, or when the time is over. */
async function when(holds: () => boolean, endMs: number): Promise<void> {
  while (!holds() && performance.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 5))
}

async function inTime<T>(ms: number, message: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${message}: ${ms} ms passed`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
