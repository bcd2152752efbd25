import { engines as engineKinds } from '@millrace/engine'
import { deviceOfLane, formatDevice, parseDevice } from '@millrace/pool'
import { laneEnvironment, poolVariable, type Config, type PoolConfig } from '@millrace/server'
import { largestDifference, readRepository, type VersionFolder } from '@millrace/workflow'
import { configuration } from '../configuration'
import { Exit, progress, printJson, UsageError } from '../output'
import { Contestant } from './contestant'
import type { Job, Loaded } from './protocol'
import { recommend, type Recommendation } from './recommend'
import { show } from './show'
import { measureAll, slowness, type Figure, type Plan } from './tournament'

export interface BenchEnginesOptions {
  /** `name` or `name@version`; the highest version unless said. */
  readonly workflow: string
  readonly repository?: string
  /** Whose device, engine threads and order of engines; the first pool unless said. */
  readonly pool?: string
  readonly quick?: boolean
  readonly json?: boolean
}

/** What `bench engines` finds; printed as it is with `--json`. */
export interface Findings {
  readonly workflow: string
  readonly pool: string
  readonly device: string
  readonly engineThreads: number
  /** What the rows are: golden requests, or made up from `seed`. */
  readonly requests: { readonly count: number; readonly golden: boolean; readonly seed: number | null }
  readonly rounds: number
  readonly tolerance: number
  readonly engines: readonly EngineFindings[]
  /** Engines that do not run it, and why. */
  readonly others: readonly { readonly engine: string; readonly reason: string }[]
  readonly recommendation: Recommendation
}

export interface EngineFindings {
  readonly engine: string
  readonly models: readonly string[]
  /** Of any answer from the first engine's, `|a - b| / max(1, |b|)`; Infinity where texts or codes differ. */
  readonly difference: number
  readonly agrees: boolean
  /** Times as long for a row as the fastest, the geometric mean over batch sizes. */
  readonly slowness: number
  readonly figures: readonly Figure[]
}

const thorough: Plan = { rounds: 5, ms: 250, batchMsMax: 2000 }
const quick: Plan = { rounds: 3, ms: 50, batchMsMax: 500 }
const sizesUsual = [1, 8, 32, 128, 512]
const seed = 20_261_124

/**
 * Runs one version on every engine that takes it, as a pool would, and says which one to name in the pool's variable;
 * exit 1 when none runs it or their answers are apart.
 */
export async function benchEngines(options: BenchEnginesOptions): Promise<number> {
  const config = configuration(options.repository)
  const pool = poolOf(config, options.pool)
  const folder = folderOf(config.repository, options.workflow)
  const plan = options.quick === true ? quick : thorough
  const { contestants, loads, others } = await loadAll(config, folder, pool)
  try {
    if (contestants.length === 0)
      throw new Error(
        `no engine here runs ${folder.name}@${folder.version}:\n` +
          others.map(({ engine, reason }) => `  ${engine}: ${reason}`).join('\n'),
      )
    const sizes = sizesFor(Math.min(...loads.map(({ rowsMax }) => rowsMax)))
    const figures = await measureAll(contestants, sizes, plan, (round) =>
      progress(round === 0 ? 'warming ...' : `round ${round} of ${plan.rounds} ...`),
    )
    const findings = findingsOf({ folder, pool, plan, loads, others, figures })
    if (options.json === true) printJson(findings)
    else show(findings)
    return findings.engines.every(({ agrees }) => agrees) ? Exit.good : Exit.no
  } finally {
    for (const contestant of contestants) contestant.end()
  }
}

function poolOf({ pools }: Config, name: string | undefined): PoolConfig {
  const pool = name === undefined ? pools[0] : pools.find((one) => one.name === name)
  if (pool === undefined)
    throw new UsageError(`--pool ${name}: there is no such pool; pools are ${pools.map((one) => one.name).join(', ')}`)
  return pool
}

function folderOf(path: string, workflow: string): VersionFolder {
  const { versions } = readRepository(path)
  const found = versions
    .filter(({ name, version }) => workflow === name || workflow === `${name}@${version}`)
    .sort((a, b) => b.version - a.version)
  if (found[0] !== undefined) return found[0]
  const names = versions.map(({ name, version }) => `${name}@${version}`).join(', ')
  throw new UsageError(`--workflow ${workflow}: ${path} has no such workflow; it has ${names || 'none'}`)
}

class NoModel extends Error {}

interface AllLoaded {
  readonly contestants: readonly Contestant[]
  /** In the order of `contestants`. */
  readonly loads: readonly Loaded[]
  readonly others: Findings['others']
}

/** In processes with the environment of a lane. */
async function loadAll(config: Config, { name, version }: VersionFolder, pool: PoolConfig): Promise<AllLoaded> {
  const { repository } = config
  const device = deviceOfLane(parseDevice(pool.device), 0)
  const job: Omit<Job, 'engine' | 'others'> = {
    ...{ repository, name, version, seed, threads: pool.engineThreads },
    device: device.kind === 'cpu' ? 'cpu' : device.kind === 'cuda' ? 'cuda:0' : formatDevice(device),
  }
  const env = laneEnvironment(config, 0, process.env).set
  const contestants: Contestant[] = []
  const loads: Loaded[] = []
  const others: { engine: string; reason: string }[] = []
  const formats = new Set<string>()
  for (const kind of engineKinds) {
    if (!kind.probe().available) continue
    progress(`loading ${name}@${version} on ${kind.name} ...`)
    const rest = engineKinds.map((one) => one.name).filter((one) => one !== kind.name)
    try {
      const { contestant, loaded } = await Contestant.load({ ...job, engine: kind.name, others: rest }, env)
      if (loaded.formats.length === 0) {
        contestant.end()
        throw new NoModel(`${name}@${version} has no model: nothing is to be compared`)
      }
      for (const format of loaded.formats) formats.add(format)
      if (loaded.models.length === 0) contestant.end()
      else {
        contestants.push(contestant)
        loads.push(loaded)
      }
    } catch (error) {
      if (error instanceof NoModel) throw error
      others.push({ engine: kind.name, reason: (error as Error).message })
    }
  }
  for (const kind of engineKinds) {
    const found = kind.probe()
    if (!found.available && kind.formats.some((format) => formats.has(format)))
      others.push({ engine: kind.name, reason: `${found.reason} (${found.install})` })
  }
  return { contestants, loads, others }
}

function sizesFor(rowsMax: number): number[] {
  const sizes = sizesUsual.filter((rows) => rows <= rowsMax)
  return rowsMax < sizesUsual.at(-1)! && !sizes.includes(rowsMax) ? [...sizes, rowsMax] : sizes
}

function findingsOf({
  folder,
  pool,
  plan,
  loads,
  others,
  figures,
}: {
  readonly folder: VersionFolder
  readonly pool: PoolConfig
  readonly plan: Plan
  readonly loads: readonly Loaded[]
  readonly others: Findings['others']
  readonly figures: ReadonlyMap<string, readonly Figure[]>
}): Findings {
  const [first] = loads
  const tolerance = first!.tolerance
  const slow = slowness(figures)
  const engines = [...figures].map(([engine, all], e): EngineFindings => {
    const { models, answers } = loads[e]!
    const difference = largestDifference(answers, first!.answers)
    const agrees = difference <= tolerance
    return { engine, models, difference, agrees, slowness: slow.get(engine)!, figures: all }
  })
  return {
    workflow: `${folder.name}@${folder.version}`,
    pool: pool.name,
    device: pool.device,
    engineThreads: pool.engineThreads,
    requests: { count: first!.answers.length, golden: first!.golden, seed: first!.golden ? null : seed },
    rounds: plan.rounds,
    tolerance,
    engines,
    others,
    recommendation: recommend(engines, {
      variable: poolVariable(pool.name, 'ENGINES'),
      inForce: pool.engines,
      all: engineKinds.map(({ name }) => name),
    }),
  }
}
