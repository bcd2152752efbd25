import { freemem } from 'node:os'
import { shownLocation } from '@millrace/facts'
import { flatTopology, formatDevice, seat, type Seating, type Topology, type Wishes } from '@millrace/pool'
import { isLoopback } from './loopback'
import { checkCuda, checkMemory, checkSeating, checkWebgpu, wishOf } from './pool-config'
import { checkDescriptors, descriptorsAllowed } from './descriptors'
import { checkMemoryPlan } from './memory-plan'
import { checkTenants } from './tenants-file'
import { checkTls } from './tls'
import { checkNames, namesOf, parse, poolPrefix, poolVariable, variables } from './variables'

/** What a server is told by its environment. Plain data: it crosses process boundaries. */
export interface Config {
  host: string
  port: number
  adminHost: string
  adminPort: number
  repository: string
  /** 0: it is read when the server starts, and when rules are published. */
  repositoryPollMs: number
  /** Empty: `facts` in the repository. May hold a password. */
  facts: string
  factsTimeoutMs: number
  /** Empty: `.millrace` in the repository. */
  stateFolder: string
  /** Origins of the pages that browsers may ask for, `*` for all. */
  allowedOrigins: string[]
  /** Whoever reaches the data port may use it, also from other machines. */
  allowAnonymous: 'no' | 'yes'
  /** A file; empty: clients are not asked who they are, but for certificates. */
  tenants: string
  /** Of commands that ask a server. */
  token: string
  /** Empty: none is asked for. */
  adminToken: string
  /** Files, PEM; empty: the data port speaks plain text. */
  tlsCert: string
  tlsKey: string
  /** Empty: clients show no certificate. */
  tlsClientCa: string
  /** As those of the data port. */
  adminTlsCert: string
  adminTlsKey: string
  adminTlsClientCa: string
  /** Keys of decisions, the first signs; empty: the server makes one when it starts. */
  decisionKey: string[]
  decisionSeconds: number
  /** Empty: there is none. */
  allocator: string
  allocatorToken: string
  allocatorTimeoutMs: number
  allocatorSeconds: number
  /** Subjects that are kept. */
  allocatorSubjects: number
  allocatorWaitingBytes: number
  /** Where engines that are installed apart are looked for. */
  enginesFolder: string
  lanes: number
  pinning: 'auto' | 'cpu' | 'lane' | 'node' | 'off'
  siblings: 'last' | 'out'
  oversubscribe: 'no' | 'yes'
  transport: 'auto' | 'uws' | 'node'
  /** Of the addon of uWebSockets.js that may be loaded; empty: the one that was tested. */
  uwsSha256: string
  logLevel: string
  explainRequests: number
  metricsTenantsMax: number
  pools: PoolConfig[]
  /** Who sits where on this machine. */
  seating: Seating
  /** What is allowed and may not be meant. */
  warnings: string[]
  arenaBytes: number
  slabBytesMax: number
  /** Bytes a row's strings are given in a slab. */
  slabStringBytes: number
  batchRowsMax: number
  /** Longest run of a batch. */
  batchTimeoutMs: number
  /** Longest load of a version on a thread. */
  loadTimeoutMs: number
  queueRowsMax: number
  requestBytesMax: number
  requestRowsMax: number
  requestsInFlightMax: number
  socketInFlightMax: number
  /** WebSockets that a lane has open. */
  socketsMax: number
  /** Connections of a lane that are no WebSockets. */
  connectionsMax: number
  /** Bytes of bodies that have arrived in part, in a lane. */
  arrivingBytesMax: number
  /** Requests of a list. */
  listItemsMax: number
  /** Bytes of what a request says beside its inputs. */
  contextBytesMax: number
  /** About how long one tenant makes others wait. */
  fairWaitMs: number
  /** Bytes of answers that the clients of a lane may leave unread. */
  unreadBytesMax: number
  /** One request in so many is recorded; 0: none. */
  recordOneIn: number
  recordFile: string
  /** Of each lane's file. */
  recordBytesMax: number
  deadlineMsDefault: number
  shadowRunMs: number
  shadowExamples: 'yes' | 'no'
  publishWaitMs: number
  drainMs: number
  startTimeoutMs: number
}

export interface PoolConfig {
  name: string
  /** As `formatDevice` writes it; of several GPUs each lane has one. */
  device: string
  /** CPUs of its threads; empty: any. */
  cpus: number[]
  /** Threads in each lane. */
  threads: number
  /** CPUs that the engine of one thread uses. */
  engineThreads: number
  /** Batches that one thread holds at once. */
  inFlight: number
  /** Engines in order of preference; empty: all. */
  engines: string[]
  /** Versions that it runs, as `name`, `name@version`, with `*`; empty: all. */
  workflows: string[]
  /** Bytes of the device's memory that its engines may take in each lane; null: what there is. */
  memory: number | null
  /** Rows of a batch: found by trying, or so many at most; null: as many as a batch takes. */
  batch: 'auto' | number | null
  /** Microseconds that rows wait for company while a thread is free; null: the workflow's wish, or what is found. */
  batchWaitUs: number | null
}

export interface ConfigDefaults {
  repository?: string
  enginesFolder?: string
  /** The machine; without it nothing is known of CPUs, and nothing is pinned. */
  topology?: Topology
  /** Memory that the arenas may take, bytes; else what this machine has left. */
  memoryBytes?: number
  /** That a lane may have open; else what this process may. */
  descriptors?: number
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
  const topology = defaults.topology ?? flatTopology([])
  const read = poolNames.map((name) => {
    const of = (part: string): unknown => raw(poolPrefix + part, poolVariable(name, part))
    const wish = wishOf(
      {
        name,
        device: of('DEVICE') as string,
        cpus: of('CPUS') as number[],
        threads: of('THREADS') as number | undefined,
        engineThreads: of('ENGINE_THREADS') as number,
      },
      topology,
      problems,
    )
    return { wish, batching: batching(wish.device.kind !== 'cpu', of) }
  })
  const wishes: Wishes = {
    lanes: raw('MILLRACE_LANES') as number | 'auto',
    pools: read.map(({ wish }) => wish),
    siblings: str('SIBLINGS') as Wishes['siblings'],
    pinning: str('PINNING') as Wishes['pinning'],
  }
  const seating = seat(topology, wishes)
  const lanes = seating.lanes.length
  const oversubscribe = str('OVERSUBSCRIBE') as Config['oversubscribe']
  const warnings: string[] = []
  checkCuda(wishes.pools, lanes, topology, env['CUDA_VISIBLE_DEVICES'], problems)
  checkWebgpu(wishes.pools, problems)
  checkMemory(
    read.map(({ wish, batching }) => ({ ...wish, memory: batching.memory })),
    problems,
  )
  checkSeating(seating, wishes.pools, oversubscribe === 'yes', problems, warnings)
  const pools = read.map(({ wish, batching }, p): PoolConfig => {
    const { name, device, engineThreads } = wish
    const threads = seating.threads[p]!
    return { name, device: formatDevice(device), cpus: [...wish.cpus], threads, engineThreads, ...batching }
  })
  const config: Config = {
    host: str('HOST'),
    port: num('PORT'),
    adminHost: str('ADMIN_HOST'),
    adminPort: num('ADMIN_PORT'),
    repository: env['MILLRACE_REPOSITORY'] ?? defaults.repository ?? '',
    enginesFolder: env['MILLRACE_ENGINES_FOLDER'] ?? defaults.enginesFolder ?? '',
    repositoryPollMs: num('REPOSITORY_POLL_MS'),
    stateFolder: str('STATE_FOLDER'),
    allowedOrigins: raw('MILLRACE_ALLOWED_ORIGINS') as string[],
    allowAnonymous: str('ALLOW_ANONYMOUS') as Config['allowAnonymous'],
    tenants: str('TENANTS'),
    token: str('TOKEN'),
    adminToken: str('ADMIN_TOKEN'),
    decisionKey: raw('MILLRACE_DECISION_KEY') as string[],
    decisionSeconds: num('DECISION_SECONDS'),
    allocator: str('ALLOCATOR'),
    allocatorToken: str('ALLOCATOR_TOKEN'),
    allocatorTimeoutMs: num('ALLOCATOR_TIMEOUT_MS'),
    allocatorSeconds: num('ALLOCATOR_SECONDS'),
    allocatorSubjects: num('ALLOCATOR_SUBJECTS'),
    allocatorWaitingBytes: num('ALLOCATOR_WAITING_BYTES'),
    tlsCert: str('TLS_CERT'),
    tlsKey: str('TLS_KEY'),
    tlsClientCa: str('TLS_CLIENT_CA'),
    adminTlsCert: str('ADMIN_TLS_CERT'),
    adminTlsKey: str('ADMIN_TLS_KEY'),
    adminTlsClientCa: str('ADMIN_TLS_CLIENT_CA'),
    lanes,
    pinning: wishes.pinning,
    siblings: wishes.siblings,
    oversubscribe,
    transport: raw('MILLRACE_TRANSPORT') as Config['transport'],
    uwsSha256: str('UWS_SHA256'),
    logLevel: str('LOG_LEVEL'),
    explainRequests: num('EXPLAIN_REQUESTS'),
    metricsTenantsMax: num('METRICS_TENANTS_MAX'),
    pools,
    seating,
    warnings,
    arenaBytes: num('ARENA_BYTES'),
    slabBytesMax: num('SLAB_BYTES_MAX'),
    slabStringBytes: num('SLAB_STRING_BYTES'),
    batchRowsMax: num('BATCH_ROWS_MAX'),
    batchTimeoutMs: num('BATCH_TIMEOUT_MS'),
    loadTimeoutMs: num('LOAD_TIMEOUT_MS'),
    queueRowsMax: num('QUEUE_ROWS_MAX'),
    requestBytesMax: num('REQUEST_BYTES_MAX'),
    requestRowsMax: num('REQUEST_ROWS_MAX'),
    requestsInFlightMax: num('REQUESTS_IN_FLIGHT_MAX'),
    socketInFlightMax: num('SOCKET_IN_FLIGHT_MAX'),
    socketsMax: num('SOCKETS_MAX'),
    connectionsMax: num('CONNECTIONS_MAX'),
    arrivingBytesMax: num('ARRIVING_BYTES_MAX'),
    listItemsMax: num('LIST_ITEMS_MAX'),
    contextBytesMax: num('CONTEXT_BYTES_MAX'),
    fairWaitMs: num('FAIR_WAIT_MS'),
    unreadBytesMax: num('UNREAD_BYTES_MAX'),
    recordOneIn: num('RECORD_ONE_IN'),
    recordFile: str('RECORD_FILE'),
    recordBytesMax: num('RECORD_BYTES_MAX'),
    deadlineMsDefault: num('DEADLINE_MS_DEFAULT'),
    shadowRunMs: num('SHADOW_RUN_MS'),
    shadowExamples: str('SHADOW_EXAMPLES') as Config['shadowExamples'],
    facts: str('FACTS'),
    factsTimeoutMs: num('FACTS_TIMEOUT_MS'),
    publishWaitMs: num('PUBLISH_WAIT_MS'),
    drainMs: num('DRAIN_MS'),
    startTimeoutMs: num('START_TIMEOUT_MS'),
  }
  checkTls(config, problems, warnings)
  checkTenants(config, problems, warnings)
  if (config.transport === 'auto' && config.tlsClientCa !== '') {
    config.transport = 'node'
    warnings.push(
      'MILLRACE_TLS_CLIENT_CA: uWebSockets.js lets clients in that show no certificate; serving with node:https and ws, ' +
        'one lane at a fraction of its rate. MILLRACE_TRANSPORT=node accepts it',
    )
  }
  checkRelations(config, problems)
  // What control groups allow is known to it.
  const available = defaults.memoryBytes ?? process.availableMemory?.() ?? freemem()
  checkMemoryPlan(config, available, problems, warnings)
  checkDescriptors(config, defaults.descriptors ?? descriptorsAllowed(), warnings)
  if (problems.length > 0) throw new ConfigError(problems)
  return config
}

/** What a pool runs and how much at once: nothing to do with CPUs. */
function batching(
  gpu: boolean,
  of: (part: string) => unknown,
): Pick<PoolConfig, 'inFlight' | 'engines' | 'workflows' | 'memory' | 'batch' | 'batchWaitUs'> {
  return {
    inFlight: of('IN_FLIGHT') as number,
    engines: of('ENGINES') as string[],
    workflows: of('WORKFLOWS') as string[],
    memory: (of('MEMORY') as number | undefined) ?? null,
    batch: (of('BATCH') as 'auto' | number | undefined) ?? (gpu ? 'auto' : null),
    batchWaitUs: (of('BATCH_WAIT_US') as number | undefined) ?? null,
  }
}

const decisionKeysMax = 8
const decisionKeyLengthMin = 32

function checkRelations(config: Config, problems: string[]): void {
  const need = (holds: boolean, message: string): void => {
    if (!holds) problems.push(message)
  }
  need(
    /^([0-9a-f]{64})?$/i.test(config.uwsSha256),
    'MILLRACE_UWS_SHA256: must be 64 hexadecimal digits: sha256sum node_modules/uWebSockets.js/uws_*.node',
  )
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
    config.requestBytesMax <= config.arrivingBytesMax,
    'MILLRACE_ARRIVING_BYTES_MAX: must be at least MILLRACE_REQUEST_BYTES_MAX',
  )
  need(
    config.port === 0 || config.port !== config.adminPort || config.host !== config.adminHost,
    'MILLRACE_ADMIN_PORT: is MILLRACE_PORT as well; they are two',
  )
  need(
    config.adminToken !== '' || isLoopback(config.adminHost),
    'MILLRACE_ADMIN_HOST: is not loopback: set MILLRACE_ADMIN_TOKEN, or whoever reaches the port changes the rules',
  )
  need(
    config.transport !== 'uws' || config.tlsClientCa === '',
    'MILLRACE_TLS_CLIENT_CA: uWebSockets.js lets clients in that show no certificate: set MILLRACE_TRANSPORT=node or auto',
  )
  need(
    isLoopback(config.host) || config.tlsClientCa !== '' || config.tenants !== '' || config.allowAnonymous === 'yes',
    `MILLRACE_HOST: is not loopback, and whoever reaches ${config.host} may use the models: ask clients for keys ` +
      '(MILLRACE_TENANTS) or certificates (MILLRACE_TLS_CLIENT_CA), or set MILLRACE_ALLOW_ANONYMOUS=yes where something in front keeps others out',
  )
  need(
    config.allocator === '' ||
      (URL.canParse(config.allocator) && ['http:', 'https:'].includes(new URL(config.allocator).protocol)),
    'MILLRACE_ALLOCATOR: must be like http://127.0.0.1:9000/cells',
  )
  for (const origin of config.allowedOrigins)
    need(
      origin === '*' || (URL.canParse(origin) && new URL(origin).origin === origin),
      `MILLRACE_ALLOWED_ORIGINS: ${origin} is no origin, such as https://example.org, nor *`,
    )
  need(
    config.decisionKey.length <= decisionKeysMax &&
      config.decisionKey.every((key) => key.length >= decisionKeyLengthMin),
    `MILLRACE_DECISION_KEY: must be at most ${decisionKeysMax} keys of at least ${decisionKeyLengthMin} characters each, by commas: openssl rand -base64 32`,
  )
  need(
    config.recordOneIn === 0 || config.recordFile !== '',
    'MILLRACE_RECORD_FILE: names no file, and MILLRACE_RECORD_ONE_IN asks for a recording',
  )
  need(config.batchRowsMax <= config.queueRowsMax, 'MILLRACE_BATCH_ROWS_MAX: must be at most MILLRACE_QUEUE_ROWS_MAX')
  need(
    config.requestRowsMax <= config.queueRowsMax,
    'MILLRACE_REQUEST_ROWS_MAX: must be at most MILLRACE_QUEUE_ROWS_MAX',
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

/** Never shown. */
const secrets: readonly string[] = [
  'MILLRACE_ADMIN_TOKEN',
  'MILLRACE_ALLOCATOR_TOKEN',
  'MILLRACE_DECISION_KEY',
  'MILLRACE_TOKEN',
]

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
    const secret = secrets.includes(name) && String(value) !== ''
    const shown = secret ? '(set)' : name === 'MILLRACE_FACTS' ? shownLocation(config.facts) : String(value)
    return { name, value: shown, source, unit: variable.unit, description: variable.description }
  })
}

function camel(name: string): string {
  return name.toLowerCase().replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())
}
