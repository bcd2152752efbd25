import { monitorEventLoopDelay, performance, type IntervalHistogram } from 'node:perf_hooks'
import { Arena, Code, Refusal } from '@millrace/base'
import { pinThread } from '@millrace/pool'
import { parseRules, RulesError, type RulesFile } from '@millrace/rules'
import { requestFromJson } from '@millrace/wire'
import { openAllocator, type Allocator } from './allocator'
import type { Config } from './config'
import { roadPool, type RoadPool } from './dispatcher'
import { openDoorkeeper } from './doorkeeper'
import { RoadDoor } from './door'
import { explainRequest } from './explain'
import type { NumberedRules, Wanted } from './lane-messages'
import { openPool, type LanePool } from './lane-pools'
import { seatsOf, type LaneSeats } from './lane-seats'
import { laneName } from './lane-name'
import type { LaneVersion, Standing } from './lane-version'
import { Loader } from './loader'
import type { Log } from './log'
import { openTransport } from './open-transport'
import { followRamps } from './ramp-clock'
import type { RecentQuery, RecentRequest } from './recent-requests'
import { recorderOf, type Recorder } from './recorder'
import { Road } from './road'
import { RulesFeed } from './rules-feed'
import type { LaneExamples } from './shadow/report'
import { eventLoopLookMs, glanceOf, snapshotOf, type LaneGlance, type LaneSnapshot } from './snapshot'
import { readTls, tlsFilesOf } from './tls'
import type { Transport } from './transport'
import { Versions, type Routed } from './versions'

/** Smallest block of the arena: what a batch of one small row takes. */
const slabBytesMin = 4096
/** What is left for sending at least, when answering took all the time to drain. */
const lastSendMs = 500
/**
 * The longest wait for peers that are told to go: what they sent before they knew is refused, which says more than a
 * connection that breaks.
 */
const tellMsMax = 2_000

/** What a lane is made of, once it serves. */
export interface LaneParts {
  readonly index: number
  readonly config: Config
  readonly arena: Arena
  readonly versions: Versions
  readonly loader: Loader
  readonly pools: readonly LanePool[]
  readonly road: Road
  /** Undefined: nothing is recorded. */
  readonly recorder: Recorder | undefined
  readonly allocator: Allocator
  readonly feed: RulesFeed
  readonly transport: Transport
  readonly eventLoop: IntervalHistogram
}

/** What a lane opens of the machine. */
export interface LaneOutside {
  readonly openPool: typeof openPool
  readonly openTransport: typeof openTransport
}
const outside: LaneOutside = { openPool, openTransport }

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
   * Loads the versions on every thread, opens the port and serves. Versions that fail are named in the snapshot; rejects
   * when the lane itself cannot serve: rules that do not hold, a port that is taken, threads that do not start.
   *
   * @param stands told of each version that is ready, failed or gone
   */
  static async start(
    config: Config,
    index: number,
    numbered: NumberedRules,
    wanted: readonly Wanted[],
    log: Log,
    stands: (standing: Standing) => void,
    { openPool, openTransport }: LaneOutside = outside,
  ): Promise<Lane> {
    const arena = new Arena(config.arenaBytes, slabBytesMin)
    const roadPools: RoadPool[] = []
    const pools: LanePool[] = []
    const versions = new Versions(arena, config, roadPools)
    for (const one of wanted) versions.add(one)
    let lane: Lane | null = null
    const loader = new Loader(versions, pools, config.loadTimeoutMs, {
      settled: (version) => {
        logStanding(version.describe(), log)
        lane?.settled(version)
        stands(version.describe())
      },
      needed: (version) => lane?.needs(version) === true,
      gone: (version) => {
        const { name, version: number } = version.folder
        if (!versions.all.some(({ label }) => label === version.label)) {
          lane?.parts.road.counts.release(name, number)
          lane?.parts.road.tallies.release(name, number)
        }
        log.info({ workflow: name, version: number }, `${version.label} is gone`)
        stands(version.describe())
      },
    })
    for (let p = 0; p < config.pools.length; p++) {
      const pool = openPool(p, index, config, arena, log, {
        prepare: (thread) => loader.prepare(p, thread),
        changed: () => loader.threadsChanged(),
        timedOut: (task) => lane?.parts.road.timedOut(task.offset),
        freed: () => lane?.parts.road.dispatch(),
      })
      pools.push(pool)
      roadPools.push(roadPool(pool.pool))
    }
    try {
      await inTime(
        config.startTimeoutMs,
        'the threads of the pools did not load the repository (MILLRACE_START_TIMEOUT_MS)',
        Promise.all(pools.map(({ opened }) => opened)),
      )
      // Also of versions that no pool takes.
      loader.threadsChanged()
      const routed = versions.compile(parseRules(numbered.rules), numbered.version)
      const allocator = openAllocator(config, log)
      const recorder = recorderOf(config, index, log)
      const warn = (message: string): void => log.warn(message)
      const road = new Road({ config, arena, versions, allocator, routed, pools: roadPools, recorder, warn })
      const feed = new RulesFeed(numbered)
      const doorkeeper = openDoorkeeper(config, road.tenants, log)
      const tls = tlsFilesOf(config, 'data')
      const transport = await openTransport(
        config,
        {
          host: config.host,
          port: config.port,
          bodyBytesMax: config.requestBytesMax,
          socketsMax: config.socketsMax,
          connectionsMax: config.connectionsMax,
          arrivingBytesMax: config.arrivingBytesMax,
          unreadBytesMax: config.unreadBytesMax,
          allowedOrigins: config.allowedOrigins,
          tls: tls === null ? null : { files: tls, texts: readTls(tls) },
          door: new RoadDoor(road, feed, config),
          doorkeeper,
          lane: laneName(index, config.lanes),
        },
        log,
      )
      // Last: threads that were started until now may run on all CPUs of the lane, not on this one alone.
      pinFront(config, index, log)
      const eventLoop = monitorEventLoopDelay({ resolution: eventLoopLookMs })
      eventLoop.enable()
      const parts = {
        index,
        config,
        arena,
        versions,
        loader,
        pools,
        road,
        recorder,
        allocator,
        feed,
        transport,
        eventLoop,
      }
      lane = new Lane(parts, { ...routed, stopRamps: followRamps(routed.table) }, log)
      return lane
    } catch (error) {
      loader.stop()
      await Promise.all(pools.map(({ pool }) => pool.close()))
      throw error
    }
  }

  get port(): number {
    return this.parts.transport.port
  }

  /** Stops taking work, answers what was accepted, then closes; what takes longer than `drainMs` is refused. */
  async drain(): Promise<void> {
    const { road, recorder, allocator, transport, eventLoop, pools, config, loader } = this.parts
    // The kernel resets what it gave to a port that is closed before it was accepted: right after all was accepted.
    await new Promise(setImmediate)
    allocator.stop()
    road.draining = true
    loader.stop()
    transport.stopListening()
    const end = performance.now() + config.drainMs
    await when(() => road.waiting === 0, end)
    const left = road.waiting
    if (left > 0) {
      this.log.warn({ left }, `${left} requests were not answered in MILLRACE_DRAIN_MS`)
      road.answers.failAll(Code.UNAVAILABLE, 'the server stopped before it was answered; send it to another')
    }
    await when(() => !transport.telling, Math.min(end, performance.now() + tellMsMax))
    await when(() => !transport.sending, Math.max(end, performance.now() + lastSendMs))
    transport.close()
    road.close()
    await recorder?.close()
    eventLoop.disable()
    this.mapped.stopRamps()
    // What still runs, runs for nobody.
    const ended = await Promise.all(pools.map(({ pool }) => pool.close(0)))
    if (ended.every((all) => all)) return
    this.log.warn('a thread is in native code and cannot be ended: the process is killed')
    // An exit would wait for the thread, and abort when it is back.
    process.kill(process.pid, 'SIGKILL')
  }

  /** Compiles rules and holds them for `map`. Throws a Refusal that names what this lane cannot serve. */
  prepare({ version, rules }: NumberedRules): void {
    const routed = this.compiled(rules, version)
    const failed = new Set([...routed.versions, ...routed.shadows].filter(({ ready }) => !ready).map(whyNot))
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

  /**
   * Puts rules in force, prepared or not: the next request is decided by them. Also where this lane is not ready for all
   * that they name, as one that starts: rules that were taken back would decide for ever.
   */
  map(numbered: NumberedRules): void {
    const { version, rules } = numbered
    this.route(this.prepared?.table.version === version ? this.prepared : this.compiled(rules, version))
    this.prepared = null
    this.parts.feed.publish(numbered)
  }

  /** Loads these versions, and lets go of all others once nothing needs them. */
  want(wanted: readonly Wanted[]): void {
    this.parts.loader.want(wanted)
  }

  /** Which thread sits where, as the kernel tells. */
  seats(): LaneSeats {
    return seatsOf(this.parts)
  }

  glance(): LaneGlance {
    return glanceOf(this.parts, this.mapped)
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
    const cellOf = this.parts.allocator.peek.bind(this.parts.allocator)
    const explained = explainRequest(table.rules, requestFromJson(json).request, Date.now(), cellOf)
    const { decision } = explained
    if (decision === null) return { ...explained, rules_version: table.version }
    const label = `${decision.workflow}@${decision.version}`
    const ready = versions.some((version) => version.label === label && version.ready)
    return { ...explained, decision: { ...decision, ready }, rules_version: table.version }
  }

  /** The requests that came last, of those that are asked for. */
  recent(query: RecentQuery): { lane: number; requests: RecentRequest[] } {
    return { lane: this.parts.index, requests: this.parts.road.router.recent.find(query) }
  }

  /** Requests whose copies differ most. */
  examples(): LaneExamples[] {
    return this.parts.road.tallies.all.map(({ label, examples }) => ({ label, examples: examples.all }))
  }

  private route(routed: Routed): void {
    this.mapped.stopRamps()
    this.parts.road.map(routed)
    this.mapped = { ...routed, stopRamps: followRamps(routed.table) }
  }

  /** A version is ready, or no pool has it any more. */
  private settled(version: LaneVersion): void {
    const { road, versions } = this.parts
    if (version.served?.limits.length === 0) road.abandon(version.served)
    road.dispatch()
    // What was loaded in the place of another takes over, under the same rules.
    const { table, versions: routed, shadows } = this.mapped
    if (!version.ready || ![...routed, ...shadows].some((other) => other.label === version.label && other !== version))
      return
    try {
      this.route(versions.compile(table.rules, table.version))
    } catch (error) {
      this.log.error({ err: error }, `${version.label} cannot take over: ${(error as Error).message}`)
    }
  }

  /** Of a version that is to go: rules in force route to it, or rows of it wait or run. */
  private needs(version: LaneVersion): boolean {
    const { served } = version
    const routes = (rules: Routed | null): boolean =>
      rules !== null && (rules.versions.includes(version) || rules.shadows.includes(version))
    // Rules that were prepared and not put in force are compiled anew when they are: with what took its place.
    if (routes(this.prepared)) this.prepared = null
    if (served !== null && served.interactive.batches + served.bulk.batches + served.shadow.batches > 0) return true
    return routes(this.mapped)
  }
}

/** Why a version does not answer. */
export function whyNot({ label, state, description: { reason } }: LaneVersion): string {
  return state === 'failed' ? `${label} failed: ${reason}` : `${label} is ${state}`
}

/** Says what is not served, and what is served by some pools only. */
function logStanding({ name, version, state, reason, pools }: Standing, log: Log): void {
  const fields = { workflow: name, version }
  if (state === 'failed') return log.error(fields, `${name}@${version} failed to load: ${reason}`)
  log.info(fields, `${name}@${version} is ${state}`)
  for (const one of pools)
    if (one.state === 'failed')
      log.warn({ ...fields, pool: one.pool }, `${name}@${version} does not run on pool ${one.pool}: ${one.reason}`)
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
