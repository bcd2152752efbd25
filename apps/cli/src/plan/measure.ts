import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { engines as engineKinds } from '@millrace/engine'
import { deviceOfLane, formatDevice, parseDevice, readTopology } from '@millrace/pool'
import {
  checkProfile,
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
  readonly out?: string
  readonly quick?: boolean
  readonly json?: boolean
}

const sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
const seed = 20_261_124
const thorough = { serviceMs: 1000, warmMsMax: 5000, ms: 1500, batchMsMax: 2000 }
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
  const config = configuration(options.repository, { topology: readTopology() }, over)
  const asked = await objectivesOf(config, options.objective)
  const measured = new Map<string, Curves>()
  for (const one of asked) measured.set(one.objective, await curvesOf(config, one, effort))
  progress('starting a server of one lane ...')
  const server = await startServer(config, openLog('warn'))
  try {
    const loaded = asked.map((one) => ({ ...one, ...measured.get(one.objective)! }))
    const shared = await sharedCosts(server, loaded[0]!, effort)
    const objectives: Record<string, unknown> = {}
    for (const one of loaded) objectives[one.objective] = await objectiveCosts(server, one, effort)
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
        versions: { node: process.version, ...versionsOf(loaded) },
        front: { read_us: shared.readUs, batch_us: shared.batchUs },
        worker: { batch_us: shared.poolBatchUs },
        objectives,
      },
      'what was measured',
    )
    write(profile, options)
    return Exit.good
  } finally {
    await server.stop()
    rmSync(state, { recursive: true, force: true })
  }
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
  readonly engines: Readonly<Record<string, EngineCurve>>
  readonly rowsMax: number
}

/** Each engine that runs the version, in a process of its own. */
async function curvesOf(config: Config, { objective, folder }: Asked, effort: Effort): Promise<Curves> {
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
  return { loaded: first, engines, rowsMax: Math.min(first.rowsMax, config.batchRowsMax) }
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

/**
 * What requests share. A request's own cost is known from lists; what a lone one takes besides is a read and a batch, and
 * of many connections with one each a batch is shared.
 */
async function sharedCosts(server: Server, one: Measurable, effort: Effort): Promise<Shared> {
  progress(`what a read and a batch cost, by ${one.objective} ...`)
  const load = (transport: TransportName, connections: number): Promise<Spent> =>
    spend(server, loadOf(one, 1, { transport, connections, inFlight: 1, list: 1 }, effort))
  const requestUs = await requestCost(server, one, 1, effort)
  const [apart, http, alone] = [await load('websocket', 32), await load('http', 32), await load('websocket', 1)]
  const aloneUs = positive(alone.frontUs - requestUs)
  const apartUs = positive(apart.frontUs - requestUs)
  const batchUs = Math.min(aloneUs, positive(aloneUs - apartUs) / (1 - 1 / apart.requestsPerBatch))
  // Of as many rows as the batches had, on the engine that is the quickest.
  const rows = Math.max(1, Math.round(apart.rowsPerBatch))
  const serviceUs = Math.min(
    ...Object.values(one.engines).map(({ service }) => measuredService(service, one.rowsMax).mean(rows)),
  )
  return {
    readUs: {
      websocket: rounded(aloneUs - batchUs),
      http: rounded(positive(http.frontUs - requestUs - batchUs / http.requestsPerBatch)),
    },
    batchUs: rounded(batchUs),
    poolBatchUs: rounded(positive(apart.poolBatchUs - serviceUs)),
  }
}

/** Front CPU of a request of `rows` rows alone: by how much a longer list of them costs more. */
async function requestCost(server: Server, one: Measurable, rows: number, effort: Effort): Promise<number> {
  const most = Math.max(2, Math.min(64, Math.floor(one.rowsMax / rows)))
  const least = Math.max(1, most >> 3)
  const load = (list: number): Promise<Spent> =>
    spend(server, loadOf(one, rows, { transport: 'http', connections: 1, inFlight: 1, list }, effort))
  // Until its code is compiled a lane costs ten times as much.
  await load(most)
  const [long, short] = [await load(most), await load(least)]
  return positive(most * long.frontUs - least * short.frontUs) / (most - least)
}

/** What a request of one objective costs the front besides, and each of its rows. */
async function objectiveCosts(server: Server, one: Measurable, effort: Effort): Promise<ProfiledObjective> {
  progress(`what a request of ${one.objective} costs ...`)
  const rows = one.rows ?? rowsOf(one)
  const requestUs = await requestCost(server, one, 1, effort)
  const many = Math.max(rows, Math.min(16, one.rowsMax))
  const rowUs = positive((await requestCost(server, one, many, effort)) - requestUs) / (many - 1)
  const cost = { request_us: rounded(positive(requestUs - rowUs)), row_us: rounded(rowUs) }
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
  how: Pick<Load, 'transport' | 'connections' | 'inFlight' | 'list'>,
  { warmMsMax, ms }: Effort,
): Load {
  const inputs = inputsOf(one.loaded.inputs, one.loaded.requests[0], rows)
  return { ...how, objective: one.objective, inputs, warmMsMax, ms }
}

/** Of the first golden request. */
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
