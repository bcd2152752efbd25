import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks'
import { Arena, Code, codeNames, type Buckets } from '@millrace/base'
import { cpusOfLane, formatCpus, Pool } from '@millrace/pool'
import { compileRules, explain, type Rules, type Table } from '@millrace/rules'
import { encodeRequest, requestFromJson } from '@millrace/wire'
import { readRepository, type VersionDescription } from '@millrace/workflow'
import type { DescribeTask, ThreadDescription, WorkerData } from '@millrace/worker'
import type { Config, PoolConfig } from './config'
import { RoadDoor } from './door'
import type { Log } from './log'
import { openTransport } from './open-transport'
import { repositoryRules } from './repository-rules'
import type { RoadPool } from './dispatcher'
import { Road } from './road'
import { serveVersion, type ServedVersion } from './served-version'
import type { HistogramSnapshot, LaneSnapshot } from './snapshot'
import type { Transport } from './transport'

/** Smallest block of the arena: what a batch of one small row takes. */
const slabBytesMin = 4096

/** One shared-nothing process: a front thread, its pools, its arena. */
export class Lane {
  private readonly eventLoop: IntervalHistogram

  private constructor(
    private readonly index: number,
    private readonly config: Config,
    private readonly rulesRead: Rules,
    private readonly table: Table,
    private readonly arena: Arena,
    private readonly descriptions: readonly VersionDescription[],
    private readonly versions: readonly (ServedVersion | null)[],
    private readonly pools: readonly Pool[],
    private readonly road: Road,
    private readonly transport: Transport,
    private readonly log: Log,
  ) {
    this.eventLoop = monitorEventLoopDelay({ resolution: 10 })
    this.eventLoop.enable()
  }

  /**
   * Loads the repository on every thread, opens the port and serves. Versions that fail are named in the snapshot;
   * rejects when the lane itself cannot serve: rules that do not hold, a port that is taken, threads that do not start.
   */
  static async start(config: Config, index: number, log: Log): Promise<Lane> {
    const repository = readRepository(config.repository)
    for (const problem of repository.problems) log.warn(problem)
    const arena = new Arena(config.arenaBytes, slabBytesMin)
    const pools = config.pools.map((pool) => openPool(pool, index, config, arena, log))
    try {
      const described = await inTime(
        config.startTimeoutMs,
        'the threads of the pools did not load the repository (MILLRACE_START_TIMEOUT_MS)',
        Promise.all(pools.map(describe)),
      )
      described.forEach((threads, p) => logPinning(config.pools[p]!, threads, log))
      const readyOn = described.map((threads) =>
        repository.versions.map((_, v) => threads.every((thread) => thread.versions[v]!.state === 'ready')),
      )
      const descriptions = repository.versions.map((_, v) => descriptionOf(described, readyOn, v))
      for (const { name, version, state, reason } of descriptions)
        if (state === 'failed') log.error({ workflow: name, version }, `${name}@${version} failed to load: ${reason}`)
      const rules = await repositoryRules(repository)
      const table = compileRules(rules, repository.versions, rules.version ?? 1)
      const versions = descriptions.map((description, v) =>
        description.state === 'ready' ? serveVersion(description, v, arena, config) : null,
      )
      const road = new Road({
        config,
        arena,
        versions,
        reasons: descriptions.map(({ reason }) => reason ?? ''),
        table,
        pools: pools.map((pool, p): RoadPool => {
          const served = versions.filter((version, v) => version !== null && readyOn[p]![v] === true)
          return {
            pool,
            interactive: served.map((version) => version!.interactive),
            bulk: served.map((version) => version!.bulk),
          }
        }),
      })
      const transport = await openTransport(
        config.transport,
        {
          host: config.host,
          port: config.port,
          bodyBytesMax: config.requestBytesMax,
          door: new RoadDoor(road, config.requestBytesMax),
        },
        log,
      )
      return new Lane(index, config, rules, table, arena, descriptions, versions, pools, road, transport, log)
    } catch (error) {
      await Promise.all(pools.map((pool) => pool.close()))
      throw error
    }
  }

  get port(): number {
    return this.transport.port
  }

  /** Stops taking work, answers what was accepted, then closes; what takes longer than `drainMs` is refused. */
  async drain(): Promise<void> {
    this.road.draining = true
    this.transport.stopListening()
    await Promise.race([this.road.drained(), new Promise((resolve) => setTimeout(resolve, this.config.drainMs))])
    const left = this.road.calls.waiting
    if (left > 0) {
      this.log.warn({ left }, `${left} requests were not answered in MILLRACE_DRAIN_MS`)
      this.road.answers.failAll(Code.UNAVAILABLE, 'the server stopped before it was answered; send it to another')
    }
    this.transport.close()
    this.road.close()
    this.eventLoop.disable()
    // What still runs, runs for nobody.
    await Promise.all(this.pools.map((pool) => pool.close(0)))
  }

  rules(): unknown {
    return { version: this.table.version, ...this.rulesRead }
  }

  /** Which rule decides for a request of the JSON twin, and why each other one does not. Throws a Refusal. */
  explain(json: unknown): unknown {
    const { request } = requestFromJson(json)
    const { objectiveLo, objectiveHi, words, begin, length, route } = this.road.lookUpParts(encodeRequest(request))
    const decided = route < 0 ? null : this.table.routes[route]!
    return {
      objective: decided?.objective ?? request.objective ?? null,
      subject: typeof request.subject === 'bigint' ? String(request.subject) : (request.subject ?? null),
      decision:
        decided === null
          ? null
          : {
              workflow: decided.workflow,
              version: decided.version,
              rule: decided.rule,
              cell: decided.cell,
              ready: this.versions[decided.versionIndex] !== null,
            },
      rules: explain(this.table, objectiveLo, objectiveHi, words, begin, length),
      rules_version: this.table.version,
    }
  }

  snapshot(): LaneSnapshot {
    const { road, table } = this
    const notReady = this.notReady()
    const served = this.versions.filter((version) => version !== null)
    const named = (version: ServedVersion): { workflow: string; version: number } => {
      return { workflow: version.description.name, version: version.description.version }
    }
    return {
      lane: this.index,
      pid: process.pid,
      ready: notReady.length === 0,
      notReady,
      rulesVersion: table.version,
      objectives: this.objectives(),
      requests: Array.from(road.answers.counts)
        .map((count, i) => {
          const route = table.routes[Math.floor(i / codeNames.length)]
          return {
            objective: route?.objective ?? '',
            workflow: route?.workflow ?? '',
            version: route?.version ?? 0,
            code: codeNames[i % codeNames.length]!,
            count,
          }
        })
        .filter(({ count }) => count > 0),
      latencies: served.flatMap((version) =>
        (
          [
            ['total', version.totalUs],
            ['queue', version.queueUs],
            ['facts', version.factsUs],
            ['score', version.scoreUs],
          ] as const
        ).map(([stage, buckets]) => ({ ...named(version), stage, histogram: histogramOf(buckets) })),
      ),
      batchRows: served.map((version) => ({ ...named(version), histogram: histogramOf(version.batchRows) })),
      queueRows: served.map((version) => ({
        ...named(version),
        rows: version.interactive.rowsWaiting + version.bulk.rowsWaiting,
      })),
      arena: { usedBytes: this.arena.usedBytes, usedSlabs: this.arena.usedBlocks, totalBytes: this.arena.totalBytes },
      requestsInFlight: road.calls.waiting,
      sockets: { websocket: this.transport.sockets },
      pools: this.pools.map((pool, p) => ({
        name: pool.name,
        device: this.config.pools[p]!.device,
        threads: pool.threads,
        readyThreads: pool.ready,
        batchesInFlight: pool.ready * this.config.pools[p]!.inFlight - pool.free,
        restarts: pool.restarts,
      })),
      eventLoopDelayUs: {
        mean: finite(this.eventLoop.mean / 1000),
        p99: this.eventLoop.percentile(99) / 1000,
        max: this.eventLoop.max / 1000,
      },
      rssBytes: process.memoryUsage.rss(),
      workflows: this.descriptions,
    }
  }

  private objectives(): Record<string, string[]> {
    const versions: Record<string, string[]> = {}
    for (const objective of this.table.objectives) {
      const routes = this.table.routes.filter((route) => route.objective === objective)
      versions[objective] = [...new Set(routes.map(({ workflow, version }) => `${workflow}@${version}`))]
    }
    return versions
  }

  private notReady(): string[] {
    const reasons = new Set<string>()
    if (this.road.draining) reasons.add('the lane drains')
    for (const { workflow, version, versionIndex } of this.table.routes)
      if (this.versions[versionIndex] === null)
        reasons.add(`${workflow}@${version} failed: ${this.descriptions[versionIndex]!.reason}`)
    for (const pool of this.pools) if (pool.ready === 0) reasons.add(`pool ${pool.name} has no thread that runs`)
    return [...reasons]
  }
}

function openPool(
  config: PoolConfig,
  lane: number,
  { lanes, repository, startTimeoutMs }: Config,
  arena: Arena,
  log: Log,
): Pool {
  const workerData: WorkerData = {
    memory: arena.memory,
    repository,
    device: config.device,
    cpus: cpusOfLane(config.cpus, lane, lanes),
    engines: config.engines,
    engineThreads: 1,
  }
  let replacing: NodeJS.Timeout | undefined
  const pool = new Pool({
    name: config.name,
    workerFile: require.resolve('@millrace/worker'),
    workerData,
    threads: config.threads,
    batchesPerThread: config.inFlight,
    onLost: (reason) => {
      log.error(
        { pool: config.name, err: reason },
        `a thread of pool ${config.name} ended: ${reason.message}; it is replaced`,
      )
      // A thread that cannot start again leaves a pool that never comes back: another process may.
      replacing ??= setTimeout(() => {
        log.fatal({ pool: config.name }, `pool ${config.name} could not replace a thread; the lane ends`)
        process.exit(1)
      }, startTimeoutMs).unref()
    },
    onReplaced: () => {
      log.info({ pool: config.name }, `a thread of pool ${config.name} was replaced`)
      if (pool.ready < pool.threads) return
      clearTimeout(replacing)
      replacing = undefined
    },
  })
  return pool
}

/** What every thread of a pool loaded, when all have. */
async function describe(pool: Pool): Promise<readonly ThreadDescription[]> {
  const task: DescribeTask = { kind: 'describe' }
  // The first tasks of a pool go to the least busy thread: one to each.
  return Promise.all(Array.from({ length: pool.threads }, () => pool.run<ThreadDescription>(task)))
}

/** Says where the kernel runs a pool's threads, as read back, and warns where that is not what was asked. */
function logPinning(pool: PoolConfig, threads: readonly ThreadDescription[], log: Log): void {
  for (const { tid, cpus, pinning } of threads) {
    const fields = { pool: pool.name, tid, cpus: cpus === null ? null : formatCpus(cpus) }
    if (pinning === null) log.info(fields, `pool ${pool.name}: thread ${tid} runs on CPUs ${fields.cpus ?? 'unknown'}`)
    else log.warn(fields, `pool ${pool.name}: thread ${tid} is not pinned: ${pinning}`)
  }
}

/** Of the first pool where the version is ready; else why the first pool's first thread failed it. */
function descriptionOf(
  pools: readonly (readonly ThreadDescription[])[],
  readyOn: readonly (readonly boolean[])[],
  v: number,
): VersionDescription {
  const ready = readyOn.findIndex((versions) => versions[v])
  if (ready >= 0) return pools[ready]![0]!.versions[v]!
  return pools[0]!.find((thread) => thread.versions[v]!.state !== 'ready')!.versions[v]!
}

function histogramOf({ bounds, counts, sum, count }: Buckets): HistogramSnapshot {
  return { bounds, counts: Array.from(counts), sum, count }
}

function finite(value: number): number {
  return Number.isFinite(value) ? value : 0
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
