import { monitorEventLoopDelay, performance, type IntervalHistogram } from 'node:perf_hooks'
import { Arena, Code, Refusal } from '@millrace/base'
import { pinThread } from '@millrace/pool'
import { compileRules, parseRules, type Rules, type Table } from '@millrace/rules'
import { requestFromJson } from '@millrace/wire'
import { readRepository, type Repository } from '@millrace/workflow'
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
import { follow, place, type PlacedDescription } from './placement'
import { Road } from './road'
import { RulesFeed } from './rules-feed'
import { serveVersion, type ServedVersion } from './served-version'
import { snapshotOf, type LaneSnapshot } from './snapshot'
import type { Transport } from './transport'

/** Smallest block of the arena: what a batch of one small row takes. */
const slabBytesMin = 4096
/** What is left for sending at least, when answering took all the time to drain. */
const lastSendMs = 500

/** What a lane is made of, once it serves. */
export interface LaneParts {
  readonly index: number
  readonly config: Config
  readonly repository: Repository
  readonly arena: Arena
  /** By version index; `versions` has null where one is not ready. */
  readonly descriptions: readonly PlacedDescription[]
  readonly versions: readonly (ServedVersion | null)[]
  readonly pools: readonly LanePool[]
  readonly road: Road
  readonly feed: RulesFeed
  readonly transport: Transport
  readonly eventLoop: IntervalHistogram
}

/** Rules in force. */
interface Mapped {
  readonly rules: Rules
  readonly table: Table
  readonly stopRamps: () => void
}

/** One shared-nothing process: a front thread, its pools, its arena. */
export class Lane {
  private prepared: { readonly rules: Rules; readonly table: Table } | null = null

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
      const rules = parseRules(numbered.rules)
      const table = compileRules(rules, repository.versions, numbered.version)
      const versions = descriptions.map((description, v) =>
        description.state === 'ready' ? serveVersion(description, v, arena, config, readyPools(description)) : null,
      )
      const roadPools = pools.map(({ pool }): RoadPool => ({ pool, interactive: [], bulk: [] }))
      const loadedOn = pools.map((pool) => pool.loaded)
      follow(versions, roadPools, loadedOn)
      const road = new Road({ config, arena, versions, table, pools: roadPools })
      for (const pool of pools)
        pool.onReplaced = () => {
          for (const version of follow(versions, roadPools, loadedOn)) road.abandon(version)
        }
      await loaded(descriptions)
      const feed = new RulesFeed(numbered)
      const transport = await openTransport(
        config.transport,
        {
          host: config.host,
          port: config.port,
          bodyBytesMax: config.requestBytesMax,
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
        repository,
        arena,
        descriptions,
        versions,
        pools,
        road,
        feed,
        transport,
        eventLoop,
      }
      return new Lane(parts, { rules, table, stopRamps: followRamps(table) }, log)
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
    const { descriptions, repository } = this.parts
    const parsed = parseRules(rules)
    const table = compileRules(parsed, repository.versions, version)
    const failed = new Set(
      table.routes
        .map(({ versionIndex }) => descriptions[versionIndex]!)
        .filter(({ state }) => state !== 'ready')
        .map(({ name, version, reason }) => `${name}@${version}: ${reason}`),
    )
    if (failed.size > 0)
      throw new Refusal(Code.FAILED_PRECONDITION, `not ready on lane ${this.parts.index}: ${[...failed].join('; ')}`)
    this.prepared = { rules: parsed, table }
  }

  /** Puts rules in force, prepared or not: the next request is decided by them. */
  map(numbered: NumberedRules): void {
    if (this.prepared?.table.version !== numbered.version) this.prepare(numbered)
    const { rules, table } = this.prepared!
    this.prepared = null
    this.mapped.stopRamps()
    this.parts.road.map(table)
    this.parts.feed.publish(numbered)
    this.mapped = { rules, table, stopRamps: followRamps(table) }
  }

  /** Which thread sits where, as the kernel tells. */
  seats(): LaneSeats {
    return seatsOf(this.parts)
  }

  snapshot(): LaneSnapshot {
    return snapshotOf(this.parts, this.mapped.table)
  }

  /** A snapshot whose event-loop delays are those since the scrape before it; the next one begins anew. */
  scrape(): LaneSnapshot {
    const snapshot = this.snapshot()
    this.parts.eventLoop.reset()
    return snapshot
  }

  /** Which rule decides for a request of the JSON twin, and why each other one does not. Throws a Refusal. */
  explain(json: unknown): unknown {
    const { versions } = this.parts
    const { rules, table } = this.mapped
    const explained = explainRequest(rules, requestFromJson(json).request)
    const { decision } = explained
    if (decision === null) return { ...explained, rules_version: table.version }
    const ready = versions.some(
      (version) =>
        version !== null &&
        version.description.name === decision.workflow &&
        version.description.version === decision.version,
    )
    return { ...explained, decision: { ...decision, ready }, rules_version: table.version }
  }
}

function pinFront({ seating }: Config, lane: number, log: Log): void {
  const { error } = pinThread(seating.lanes[lane]!.front)
  if (error !== null) log.warn(`the front thread is not pinned: ${error}`)
}

/** Indexes of the pools that serve a version. */
function readyPools({ pools }: PlacedDescription): number[] {
  return pools.flatMap(({ state }, p) => (state === 'ready' ? [p] : []))
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
