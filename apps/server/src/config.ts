import { freemem } from 'node:os'
import { checkNames, namesOf, parse, poolPrefix, poolVariable, variables } from './variables'

/** What a server is told by its environment. Plain data: it crosses process boundaries. */
export interface Config {
  host: string
  port: number
  adminHost: string
  adminPort: number
  repository: string
  /** Where engines that are installed apart are looked for. */
  enginesFolder: string
  lanes: number
  transport: 'auto' | 'uws' | 'node'
  logLevel: string
  pools: PoolConfig[]
  arenaBytes: number
  slabBytesMax: number
  /** Bytes a row's strings are given in a slab. */
  slabStringBytes: number
  batchRowsMax: number
  queueRowsMax: number
  requestBytesMax: number
  requestRowsMax: number
  requestsInFlightMax: number
  deadlineMsDefault: number
  drainMs: number
  startTimeoutMs: number
}

export interface PoolConfig {
  name: string
  device: string
  /** CPUs its threads may be pinned to; empty: not pinned. */
  cpus: number[]
  /** Threads in each lane. */
  threads: number
  /** Batches that one thread holds at once. */
  inFlight: number
  /** Engines in order of preference; empty: all. */
  engines: string[]
}

export interface ConfigDefaults {
  repository?: string
  enginesFolder?: string
  /** CPUs this process may use; empty when that is not known. */
  cpus: number[]
}

export class ConfigError extends Error {
  constructor(readonly problems: string[]) {
    super(`the environment is not a configuration:\n  ${problems.join('\n  ')}`)
    this.name = 'ConfigError'
  }
}

/** The configuration that `env` describes; throws `ConfigError` with every problem there is. */
export function readConfig(env: NodeJS.ProcessEnv, defaults: ConfigDefaults): Config {
  const problems: string[] = []
  const raw = (pattern: string, name = pattern): unknown => {
    const variable = variables.find((one) => one.name === pattern)!
    const value = env[name] ?? variable.default
    const parsed = parse(variable, value)
    if (parsed instanceof Error) problems.push(`${name}=${JSON.stringify(value)}: ${parsed.message}`)
    return parsed instanceof Error ? parse(variable, variable.default) : parsed
  }
  const num = (name: string): number => raw(`MILLRACE_${name}`) as number
  const str = (name: string): string => raw(`MILLRACE_${name}`) as string

  const poolNames = raw('MILLRACE_POOLS') as string[]
  checkPoolNames(poolNames, problems)
  checkNames(env, poolNames, problems)
  const cpuCount = Math.max(1, defaults.cpus.length)
  const lanesWanted = raw('MILLRACE_LANES') as number | 'auto'
  const lanes = lanesWanted === 'auto' ? Math.max(1, Math.floor(cpuCount / 2)) : lanesWanted
  const pools = poolNames.map((name): PoolConfig => {
    const of = (part: string): unknown => raw(poolPrefix + part, poolVariable(name, part))
    const device = of('DEVICE') as string
    if (device !== 'cpu') {
      problems.push(
        `${poolVariable(name, 'DEVICE')}=${JSON.stringify(device)}: is not available in this release, which has cpu`,
      )
    }
    const wanted = of('CPUS') as number[]
    const foreign = defaults.cpus.length === 0 ? [] : wanted.filter((cpu) => !defaults.cpus.includes(cpu))
    if (foreign.length > 0)
      problems.push(`${poolVariable(name, 'CPUS')}: this process may not use CPU ${foreign.join(', ')}`)
    const cpus = wanted.length > 0 ? wanted : [...defaults.cpus]
    const threads = (of('THREADS') as number | undefined) ?? Math.max(1, Math.floor((cpus.length || 1) / lanes) - 1)
    return { name, device, cpus, threads, inFlight: of('IN_FLIGHT') as number, engines: of('ENGINES') as string[] }
  })
  const config: Config = {
    host: str('HOST'),
    port: num('PORT'),
    adminHost: str('ADMIN_HOST'),
    adminPort: num('ADMIN_PORT'),
    repository: env['MILLRACE_REPOSITORY'] ?? defaults.repository ?? '',
    enginesFolder: env['MILLRACE_ENGINES_FOLDER'] ?? defaults.enginesFolder ?? '',
    lanes,
    transport: raw('MILLRACE_TRANSPORT') as Config['transport'],
    logLevel: str('LOG_LEVEL'),
    pools,
    arenaBytes: num('ARENA_BYTES'),
    slabBytesMax: num('SLAB_BYTES_MAX'),
    slabStringBytes: num('SLAB_STRING_BYTES'),
    batchRowsMax: num('BATCH_ROWS_MAX'),
    queueRowsMax: num('QUEUE_ROWS_MAX'),
    requestBytesMax: num('REQUEST_BYTES_MAX'),
    requestRowsMax: num('REQUEST_ROWS_MAX'),
    requestsInFlightMax: num('REQUESTS_IN_FLIGHT_MAX'),
    deadlineMsDefault: num('DEADLINE_MS_DEFAULT'),
    drainMs: num('DRAIN_MS'),
    startTimeoutMs: num('START_TIMEOUT_MS'),
  }
  checkRelations(config, problems)
  if (problems.length > 0) throw new ConfigError(problems)
  return config
}

function checkRelations(config: Config, problems: string[]): void {
  const need = (holds: boolean, message: string): void => {
    if (!holds) problems.push(message)
  }
  need(config.repository !== '', 'MILLRACE_REPOSITORY: names no folder')
  need(Number.isInteger(Math.log2(config.arenaBytes)), 'MILLRACE_ARENA_BYTES: must be a power of two')
  need(Number.isInteger(Math.log2(config.slabBytesMax)), 'MILLRACE_SLAB_BYTES_MAX: must be a power of two')
  need(
    config.slabBytesMax <= config.arenaBytes / 2,
    'MILLRACE_SLAB_BYTES_MAX: must be at most half of MILLRACE_ARENA_BYTES',
  )
  need(
    config.requestBytesMax <= config.slabBytesMax,
    'MILLRACE_REQUEST_BYTES_MAX: must be at most MILLRACE_SLAB_BYTES_MAX',
  )
  need(
    config.port === 0 || config.port !== config.adminPort || config.host !== config.adminHost,
    'MILLRACE_ADMIN_PORT: is MILLRACE_PORT as well; they are two',
  )
  need(config.batchRowsMax <= config.queueRowsMax, 'MILLRACE_BATCH_ROWS_MAX: must be at most MILLRACE_QUEUE_ROWS_MAX')
  need(
    config.requestRowsMax <= config.queueRowsMax,
    'MILLRACE_REQUEST_ROWS_MAX: must be at most MILLRACE_QUEUE_ROWS_MAX',
  )
  const arenas = config.arenaBytes * config.lanes
  const available = process.availableMemory?.() ?? freemem()
  need(
    arenas <= available,
    `MILLRACE_ARENA_BYTES: ${config.lanes} lanes take ${arenas} bytes, ${available} are available`,
  )
}

function checkPoolNames(names: string[], problems: string[]): void {
  if (names.length === 0) problems.push('MILLRACE_POOLS: names no pool')
  for (const name of names) {
    if (!/^[a-z][a-z0-9-]*$/.test(name))
      problems.push(`MILLRACE_POOLS: ${JSON.stringify(name)} is not a pool name (a-z, 0-9, -)`)
  }
  if (new Set(names).size !== names.length) problems.push('MILLRACE_POOLS: names a pool twice')
}

export interface ConfigRow {
  name: string
  value: string
  source: 'default' | 'environment'
  unit: string
  description: string
}

/** What each variable is and where it came from, in the order of `variables`. */
export function describeConfig(config: Config, env: NodeJS.ProcessEnv): ConfigRow[] {
  return namesOf(config.pools.map((pool) => pool.name)).map(([name, variable, poolName]) => {
    const pool = config.pools.find((one) => one.name === poolName)
    const key = camel(variable.name.slice(pool === undefined ? 'MILLRACE_'.length : poolPrefix.length))
    const holder = (pool ?? config) as unknown as Record<string, unknown>
    const value = key === 'pools' ? config.pools.map((one) => one.name) : holder[key]
    const source = env[name] === undefined ? 'default' : 'environment'
    return { name, value: String(value), source, unit: variable.unit, description: variable.description }
  })
}

function camel(name: string): string {
  return name.toLowerCase().replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())
}
