import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { engineFor, engines as engineKinds, type ModelFormat } from '@millrace/engine'
import { cutCpus, type Apart } from '@millrace/load'
import { deviceOfLane, formatDevice, parseDevice, pinProcess, readTopology } from '@millrace/pool'
import {
  checkProfile,
  connectionsOf,
  measuredService,
  type EngineCurve,
  type Profile,
  type ProfiledObjective,
  type TransportName,
} from '@millrace/plan'
import { laneEnvironment, openLog, repositoryRules, startServer, type Config, type Server } from '@millrace/server'
import { readRepository, type VersionFolder } from '@millrace/workflow'
import { Contestant } from '../bench-engines/contestant'
import type { Loaded, Profiled } from '../bench-engines/protocol'
import { configuration } from '../configuration'
import { Exit, print, printJson, progress, UsageError } from '../output'
import { inputsOf, spend, type Load, type Spent } from './load'

export interface MeasureOptions {
  readonly repository?: string
  /** `name` or `name:rows` each; all, as their golden requests have them, unless given. */
  readonly objective?: readonly string[]
  /** A recording of requests, in the place of golden ones. */
  readonly traffic?: string
  readonly out?: string
  readonly quick?: boolean
  readonly json?: boolean
}

const sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
const seed = 20_261_124
const thorough = { serviceMs: 1000, warmMsMax: 8000, ms: 1500, batchMsMax: 2000 }
const quick = { serviceMs: 60, warmMsMax: 100, ms: 250, batchMsMax: 300 }
type Effort = typeof thorough

/** Measures what requests of a repository cost on this machine: its engines alone, then its server under load. */
export async function measureProfile(options: MeasureOptions): Promise<number> {
  const effort = options.quick === true ? quick : thorough
  const state = mkdtempSync(join(tmpdir(), 'millrace-measure-'))
  const over = {
    ...{ MILLRACE_PORT: '0', MILLRACE_ADMIN_PORT: '0', MILLRACE_LANES: '1', MILLRACE_LOG_LEVEL: 'warn' },
    MILLRACE_STATE_FOLDER: state,
  }
  const configured = (more: Readonly<Record<string, string>>): Config =>
    configuration(options.repository, { topology: readTopology() }, { ...over, ...more })
  const config = configured({})
  const asked = await objectivesOf(config, options.objective)
  if (options.traffic !== undefined && !existsSync(options.traffic))
    throw new UsageError(`--traffic ${options.traffic}: there is no such file`)
  const apart = stayFromLoad()
  const measured: Measurable[] = []
  for (const one of asked) measured.push({ ...one, ...(await curvesOf(config, one, options.traffic, effort)) })
  const servers: Server[] = []
  const start = async (which: Config): Promise<Measured> => {
    const server = await startServer(which, openLog('warn'))
    servers.push(server)
    return { server, apart }
  }
  try {
    progress('starting servers of one lane ...')
    const lane = await start(config)
    const pool = config.pools[0]!.name.toUpperCase()
    const first = measured[0]!
    const smallRows = Math.max(1, Math.min(64, first.rowsMax) >> 3)
    const limited = { [`MILLRACE_POOL_${pool}_BATCH`]: String(smallRows), MILLRACE_STATE_FOLDER: join(state, 'small') }
    const small = await start(configured(limited))
    const shared = await sharedCosts(lane, small, first, effort)
    const objectives: Record<string, unknown> = {}
    for (const one of measured) objectives[one.objective] = await objectiveCosts(lane, one, shared, effort)
    const profile = checkProfile(
      {
        millrace_profile: 1,
        machine: {
          cpu: cpus()[0]?.model ?? 'unknown',
          cores: cpus().length,
          memory_gib: Math.round(totalmem() / 2 ** 30),
        },
        date: new Date().toISOString().slice(0, 10),
        command: ['millrace', ...process.argv.slice(2)].join(' '),
        commit: commit(),
        versions: { node: process.version, ...versionsOf(measured) },
        front: { read_us: shared.readUs, batch_us: shared.batchUs },
        worker: { batch_us: shared.poolBatchUs },
        objectives,
      },
      'what was measured',
    )
    write(profile, options)
    return Exit.good
  } finally {
    for (const server of servers) await server.stop()
    rmSync(state, { recursive: true, force: true })
  }
}

/** This process and the lanes that it starts stay off the CPUs of the load, where there are some to spare. */
function stayFromLoad(): Apart | null {
  const apart = cutCpus()
  return apart === null || pinProcess(apart.server).error !== null ? null : apart
}

interface Asked {
  readonly objective: string
  readonly folder: VersionFolder
  readonly rows: number | null
}

/** The objectives, each with the version that its default is. */
async function objectivesOf({ repository: path }: Config, wanted: readonly string[] | undefined): Promise<Asked[]> {
  const repository = readRepository(path)
  const { objectives } = await repositoryRules(repository)
  const names = Object.keys(objectives)
  if (names.length === 0) throw new UsageError(`${path} has no objectives: name another with --repository`)
  return (wanted ?? names).map((text) => {
    const [objective, rows] = text.split(':')
    const known = objectives[objective!]
    if (known === undefined)
      throw new UsageError(`--objective ${text}: there is no such objective; there are ${names.join(', ')}`)
    if (rows !== undefined && !/^[1-9]\d{0,4}$/.test(rows))
      throw new UsageError(`--objective ${text}: rows must be a whole number from 1 to 99999`)
    const folder = repository.versions.find(({ name, version }) => `${name}@${version}` === known.default)
    if (folder === undefined) throw new Error(`${path} has no ${known.default}, the default of ${objective}`)
    return { objective: objective!, folder, rows: rows === undefined ? null : Number(rows) }
  })
}

interface Curves {
  readonly loaded: Loaded
  /** The engine that a lane runs it on. */
  readonly served: string
  readonly engines: Readonly<Record<string, EngineCurve>>
  readonly rowsMax: number
}

/** Each engine that runs the version, in a process of its own. */
async function curvesOf(
  config: Config,
  { objective, folder, rows: requestRows }: Asked,
  traffic: string | undefined,
  effort: Effort,
): Promise<Curves> {
  const pool = config.pools[0]!
  const device = deviceOfLane(parseDevice(pool.device), 0)
  const env = laneEnvironment(config, 0, process.env).set
  const engines: Record<string, EngineCurve> = {}
  let first: Loaded | null = null
  const reasons: string[] = []
  for (const kind of engineKinds.filter((one) => one.probe().available)) {
    progress(`${objective}: ${folder.name}@${folder.version} on ${kind.name} ...`)
    const others = engineKinds.map(({ name }) => name).filter((name) => name !== kind.name)
    const job = {
      ...{ repository: config.repository, name: folder.name, version: folder.version, seed, others },
      ...{ engine: kind.name, threads: pool.engineThreads },
      ...(requestRows !== null && { requestRows }),
      ...(traffic !== undefined && { traffic: { file: traffic, objective } }),
      device: device.kind === 'cpu' ? 'cpu' : device.kind === 'cuda' ? 'cuda:0' : formatDevice(device),
    }
    try {
      const { contestant, loaded } = await Contestant.load(job, env)
      try {
        first ??= loaded
        // A version without a model is the same on every engine: it is measured once, as the first.
        if (loaded.models.length === 0 && loaded.formats.length > 0) continue
        const rowsMax = Math.min(loaded.rowsMax, config.batchRowsMax)
        const points: Profiled[] = []
        for (const rows of sizesOf(rowsMax)) {
          const before = points.at(-1)
          if (before !== undefined && (before.meanUs / before.rows) * rows > effort.batchMsMax * 1000) break
          points.push(await contestant.profile({ rows, ms: effort.serviceMs }))
        }
        engines[kind.name] = { device: job.device, threads: pool.engineThreads, service: points.map(pointOf) }
        if (loaded.formats.length === 0) break
      } finally {
        contestant.end()
      }
    } catch (error) {
      reasons.push(`${kind.name}: ${(error as Error).message}`)
    }
  }
  if (first === null || Object.keys(engines).length === 0)
    throw new Error(`no engine here runs ${folder.name}@${folder.version}:\n  ${reasons.join('\n  ')}`)
  // Of models of several formats the first says; without one it is the same on every engine.
  const [format] = first.formats
  const kind = format === undefined ? '' : engineFor(format as ModelFormat, pool.engines, formatDevice(device)).name
  const served = kind in engines ? kind : Object.keys(engines)[0]!
  return { loaded: first, served, engines, rowsMax: Math.min(first.rowsMax, config.batchRowsMax) }
}

function sizesOf(rowsMax: number): number[] {
  const usual = sizes.filter((rows) => rows <= rowsMax)
  return usual.includes(rowsMax) ? usual : [...usual, rowsMax]
}

function pointOf({ rows, batches, meanUs, minUs, p50Us, p90Us, p99Us, p999Us }: Profiled): EngineCurve['service'][0] {
  return {
    ...{ rows, batches, mean_us: rounded(meanUs), min_us: rounded(minUs), p50_us: rounded(p50Us) },
    ...{ p90_us: rounded(p90Us), p99_us: rounded(p99Us), p999_us: rounded(p999Us) },
  }
}

interface Shared {
  readonly readUs: Readonly<Record<TransportName, number>>
  readonly batchUs: number
  readonly poolBatchUs: number
}

interface Measurable extends Asked, Curves {}

/** A lane that is measured. */
interface Measured {
  readonly server: Server
  readonly apart: Apart | null
}

/** Connections of a load whose requests come many at a time. */
const few = 4
/** Connections that have one request in flight each, at most. */
const manyMax = 64
/** Milliseconds that a batch takes at most where it can be chosen: of slow networks as many rows would take minutes. */
const burstMsMax = 50
/** Batches that are measured, at least. */
const batchesMin = 8

/**
 * What requests share, on lanes that have all they can do: one that idles spends most of its CPU on going to sleep. What few
 * connections ask comes in bursts, one read and one batch each; where batches are smaller there are more of both; many
 * connections with a request each share batches alone.
 *
 * @param small the same with batches of few rows
 */
async function sharedCosts(lane: Measured, small: Measured, one: Measurable, effort: Effort): Promise<Shared> {
  progress(`what a read and a batch cost, by ${one.objective} ...`)
  const burstsOf = async (which: Measured): Promise<Spent> => {
    // Until its code is compiled a lane costs several times as much, and what compiles takes its CPUs for seconds.
    await spendBursts(which, one, 1, effort)
    return spendBursts(which, one, 1, effort)
  }
  const [burst, bursts] = [await burstsOf(lane), await burstsOf(small)]
  const many = Math.max(few, Math.min(manyMax, 2 * burstRowsOf(one)))
  const spendApart = (transport: TransportName): Promise<Spent> =>
    spend(lane.server, lane.apart, loadOf(one, 1, { transport, connections: many, inFlight: 1 }, effort))
  const [webSocket, http] = [await spendApart('websocket'), await spendApart('http')]
  const [more, fewer] = [1 / bursts.requestsPerBatch, 1 / burst.requestsPerBatch]
  const apart = 1 / webSocket.requestsPerBatch
  const bothUs = more - fewer < 0.01 ? 0 : positive(bursts.frontUs - burst.frontUs) / (more - fewer)
  const requestUs = positive(burst.frontUs - bothUs * fewer)
  const readUs = Math.min(bothUs, positive(webSocket.frontUs - requestUs - bothUs * apart) / (1 - Math.min(0.9, apart)))
  const batchUs = bothUs - readUs
  return {
    readUs: {
      websocket: rounded(readUs),
      http: rounded(positive(http.frontUs - requestUs - batchUs / http.requestsPerBatch)),
    },
    batchUs: rounded(batchUs),
    // Of small ones: rows that come in other requests than those of the curve have more of their own.
    poolBatchUs: rounded(positive(bursts.poolBatchUs - serviceUs(one, bursts.rowsPerBatch))),
  }
}

/** Of as many rows, on the engine that the lane runs it on. */
function serviceUs({ engines, served, rowsMax }: Measurable, rows: number): number {
  return measuredService(engines[served]!.service, rowsMax).mean(Math.max(1, Math.round(rows)))
}

/** Rows of the largest batch that was measured and is not slow. */
function burstRowsOf({ engines, served }: Measurable): number {
  return engines[served]!.service.filter(({ mean_us }) => mean_us <= burstMsMax * 1000).at(-1)?.rows ?? 1
}

/** Few connections, each with as many requests of so many rows in flight as a batch takes. */
function spendBursts(lane: Measured, one: Measurable, rows: number, effort: Effort): Promise<Spent> {
  const inFlight = Math.min(256, Math.max(2, Math.ceil(burstRowsOf(one) / rows)))
  return spend(
    lane.server,
    lane.apart,
    loadOf(one, rows, { transport: 'websocket', connections: few, inFlight }, effort),
  )
}

/** What a request of one objective costs the front besides, and each of its rows. */
async function objectiveCosts(
  lane: Measured,
  one: Measurable,
  { readUs, batchUs }: Shared,
  effort: Effort,
): Promise<ProfiledObjective> {
  progress(`what a request of ${one.objective} costs ...`)
  const rows = one.rows ?? rowsOf(one)
  const costOf = async (each: number): Promise<number> => {
    const { frontUs, requestsPerBatch } = await spendBursts(lane, one, each, effort)
    const reads = connectionsOf(requestsPerBatch, few) / requestsPerBatch
    return positive(frontUs - batchUs / requestsPerBatch - readUs.websocket * reads)
  }
  const most = Math.max(rows, Math.min(16, one.rowsMax))
  await spendBursts(lane, one, most, effort)
  const [short, long] = [await costOf(1), await costOf(most)]
  const rowUs = positive(long - short) / (most - 1)
  const cost = { request_us: rounded(positive(short - rowUs)), row_us: rounded(rowUs) }
  return {
    workflow: `${one.folder.name}@${one.folder.version}`,
    rows,
    front: { websocket: cost, http: cost },
    batch_rows_max: one.rowsMax,
    engines: one.engines,
  }
}

function loadOf(
  one: Measurable,
  rows: number,
  how: Pick<Load, 'transport' | 'connections' | 'inFlight'>,
  { warmMsMax, ms }: Effort,
): Load {
  const requests = one.loaded.requests.map((request) => inputsOf(one.loaded.inputs, request, rows))
  const batchRows = Math.min(one.rowsMax, how.connections * how.inFlight * rows)
  const msMin = (batchesMin * serviceUs(one, batchRows)) / 1000
  return { ...how, objective: one.objective, requests, rows, warmMsMax, ms: Math.max(ms, msMin) }
}

/** Of the first request. */
function rowsOf({ loaded }: Measurable): number {
  const spec = loaded.inputs.find(({ per }) => per === 'row')
  const column = spec === undefined ? null : loaded.requests[0]![spec.name]
  return Array.isArray(column) ? column.length : 1
}

function versionsOf(all: readonly Curves[]): Record<string, string> {
  const names = new Set(all.flatMap(({ engines }) => Object.keys(engines)))
  return Object.fromEntries(
    engineKinds.flatMap((kind) => {
      const found = kind.probe()
      return names.has(kind.name) && found.available ? [[kind.name, found.version]] : []
    }),
  )
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      cwd: __dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    return 'unknown'
  }
}

function write(profile: Profile, { out, json }: MeasureOptions): void {
  if (out !== undefined) {
    writeFileSync(out, `${JSON.stringify(profile, null, 2)}\n`)
    print(`written to ${out}; millrace plan --profile ${out} plans with it`)
  }
  if (json === true || out === undefined) printJson(profile)
}

/** Differences of noisy figures may be below what costs can be. */
function positive(us: number): number {
  return Math.max(0, us)
}

/** Four digits are more than the machine keeps still. */
function rounded(us: number): number {
  return Number(us.toPrecision(4))
}
