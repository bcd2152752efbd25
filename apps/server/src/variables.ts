import { parseCpus } from '@millrace/pool'

/* The table of variables, and how the text of one is read. What they mean together is in `config.ts`. */

export interface Variable {
  /** `MILLRACE_POOL_<NAME>_...` stands for one variable for each pool. */
  name: string
  kind: 'text' | 'list' | 'cpus' | 'lanes' | 'choice' | 'number' | 'bytes'
  default: string
  unit: string
  description: string
  min?: number
  max?: number
  choices?: readonly string[]
}

const number = (
  name: string,
  value: number,
  unit: string,
  description: string,
  min: number,
  max: number,
): Variable => ({
  name,
  kind: 'number',
  default: String(value),
  unit,
  description,
  min,
  max,
})
const bytes = (name: string, value: string, description: string, min: number, max: number): Variable => ({
  name,
  kind: 'bytes',
  default: value,
  unit: 'bytes',
  description,
  min,
  max,
})
const text = (name: string, value: string, description: string): Variable => ({
  name,
  kind: 'text',
  default: value,
  unit: '',
  description,
})
const choice = (name: string, value: string, choices: readonly string[], description: string): Variable => ({
  name,
  kind: 'choice',
  default: value,
  unit: '',
  description,
  choices,
})

const day = 86_400_000
const gib = 2 ** 30

/** Every variable there is: parsing, `millrace config` and the README's table come from here. */
export const variables: readonly Variable[] = [
  text('MILLRACE_HOST', '127.0.0.1', 'Address the data port binds to.'),
  number('MILLRACE_PORT', 8080, '', 'Data port; 0 takes a free one.', 0, 65535),
  text('MILLRACE_ADMIN_HOST', '127.0.0.1', 'Address the admin port binds to.'),
  number('MILLRACE_ADMIN_PORT', 8081, '', 'Admin port; 0 takes a free one.', 0, 65535),
  text('MILLRACE_REPOSITORY', '', 'Folder of workflows and models.'),
  number(
    'MILLRACE_REPOSITORY_POLL_MS',
    1000,
    'ms',
    'Between looks at the repository for versions and rules that came or went; 0: none.',
    0,
    day,
  ),
  text('MILLRACE_FACTS', '', 'Where facts are: a folder or redis://host:port; by default facts in the repository.'),
  number('MILLRACE_FACTS_TIMEOUT_MS', 100, 'ms', 'Longest wait for a batch of facts from Redis.', 1, 60_000),
  text('MILLRACE_STATE_FOLDER', '', 'Folder of the published rules; by default .millrace in the repository.'),
  text('MILLRACE_ADMIN_TOKEN', '', 'What requests to the admin port that change something bear as their token.'),
  choice(
    'MILLRACE_ALLOW_ANONYMOUS',
    'no',
    ['no', 'yes'],
    'Whether the data port may bind to more than loopback without asking clients who they are.',
  ),
  text(
    'MILLRACE_TENANTS',
    '',
    'File of the tenants: their keys and certificates, and what they may; by default none are asked for.',
  ),
  text('MILLRACE_TOKEN', '', 'Key that commands show to the data port of a server, as millrace score does.'),
  {
    name: 'MILLRACE_ALLOWED_ORIGINS',
    kind: 'list',
    default: '',
    unit: '',
    description: 'Origins of the pages that browsers may ask for, by commas, or a star for all; by default none.',
  },
  text(
    'MILLRACE_TLS_CERT',
    '',
    'Certificate of the data port with its chain, a PEM file; with it the port speaks TLS.',
  ),
  text('MILLRACE_TLS_KEY', '', 'Key of that certificate, a PEM file.'),
  text('MILLRACE_TLS_CLIENT_CA', '', 'Authorities, a PEM file, one of which signed the certificate of each client.'),
  text('MILLRACE_ADMIN_TLS_CERT', '', 'Certificate of the admin port with its chain, a PEM file.'),
  text('MILLRACE_ADMIN_TLS_KEY', '', 'Key of that certificate, a PEM file.'),
  text('MILLRACE_ADMIN_TLS_CLIENT_CA', '', 'Authorities of the certificates of those who use the admin port.'),
  {
    name: 'MILLRACE_DECISION_KEY',
    kind: 'list',
    default: '',
    unit: '',
    description:
      'Keys of the decisions that clients carry: the first signs, all are taken; by default one for each start.',
  },
  number('MILLRACE_DECISION_SECONDS', 60, 's', 'How long a decision holds that a client carries.', 1, day / 1000),
  text(
    'MILLRACE_ALLOCATOR',
    '',
    'Where experiments with an allocator have their cells from, as http://host:port/path.',
  ),
  text('MILLRACE_ALLOCATOR_TOKEN', '', 'What requests to the allocator bear as their token.'),
  number(
    'MILLRACE_ALLOCATOR_TIMEOUT_MS',
    50,
    'ms',
    'Longest wait of a request for the cells of its subject.',
    1,
    60_000,
  ),
  number(
    'MILLRACE_ALLOCATOR_SECONDS',
    60,
    's',
    'How long cells count as new; older ones are asked for again.',
    1,
    day / 1000,
  ),
  number('MILLRACE_ALLOCATOR_SUBJECTS', 100_000, 'subjects', 'Subjects whose cells a lane keeps.', 2, 2 ** 24),
  bytes(
    'MILLRACE_ALLOCATOR_WAITING_BYTES',
    '16MiB',
    'Requests of a lane that wait for cells; more get default cells.',
    0,
    gib,
  ),
  text('MILLRACE_ENGINES_FOLDER', '', 'Folder of engines that are installed apart; see millrace engines.'),
  {
    name: 'MILLRACE_LANES',
    kind: 'lanes',
    default: '1',
    unit: 'processes',
    min: 1,
    max: 1024,
    description:
      'Lanes that serve; auto: one for each CUDA device, else for each core pair (front thread, pool thread).',
  },
  choice(
    'MILLRACE_PINNING',
    'auto',
    ['auto', 'cpu', 'lane', 'node', 'off'],
    'Threads stay on their own CPU, those of their lane, or of its NUMA node; auto: cpu for CPUs that are named or of a cpuset, else node.',
  ),
  choice('MILLRACE_SIBLINGS', 'last', ['last', 'out'], 'Hyper-thread siblings: used when every core is, or never.'),
  choice(
    'MILLRACE_OVERSUBSCRIBE',
    'no',
    ['no', 'yes'],
    'Whether pools may have more threads x engine threads than CPUs.',
  ),
  choice(
    'MILLRACE_TRANSPORT',
    'auto',
    ['auto', 'uws', 'node'],
    'HTTP server of the data port: uws, node, or auto (uws where it loads).',
  ),
  text(
    'MILLRACE_UWS_SHA256',
    '',
    'sha256 of another native addon of uWebSockets.js to load; empty: only the tested one.',
  ),
  choice(
    'MILLRACE_LOG_LEVEL',
    'info',
    ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
    'Least level logged.',
  ),
  number(
    'MILLRACE_EXPLAIN_REQUESTS',
    1000,
    'requests',
    'Requests that a lane remembers for millrace explain, with subject and context, in memory alone; 0: none.',
    0,
    2 ** 20,
  ),
  number('MILLRACE_METRICS_TENANTS_MAX', 100, 'tenants', 'Tenants that metrics name; the rest is other.', 0, 10000),
  { name: 'MILLRACE_POOLS', kind: 'list', default: 'cpu', unit: '', description: 'Names of the pools, by commas.' },
  text('MILLRACE_POOL_<NAME>_DEVICE', 'cpu', 'Device: cpu, cpu:0-3, cuda:0, cuda:0,1 (one for each lane), webgpu:0.'),
  {
    name: 'MILLRACE_POOL_<NAME>_CPUS',
    kind: 'cpus',
    default: '',
    unit: '',
    description: 'CPUs of the pool, as 0-3,6; by default all that no other pool names.',
  },
  {
    name: 'MILLRACE_POOL_<NAME>_THREADS',
    kind: 'number',
    default: '',
    unit: 'threads',
    min: 1,
    max: 1024,
    description: 'Threads in each lane; by default as many as there are CPUs for, 1 for a GPU.',
  },
  number('MILLRACE_POOL_<NAME>_ENGINE_THREADS', 1, 'CPUs', 'CPUs that the engine of one thread uses.', 1, 1024),
  number(
    'MILLRACE_POOL_<NAME>_IN_FLIGHT',
    2,
    'batches',
    'Batches that one thread holds at once, but for short ones.',
    1,
    64,
  ),
  {
    name: 'MILLRACE_POOL_<NAME>_ENGINES',
    kind: 'list',
    default: '',
    unit: '',
    description: 'Engines in order of preference: onnxruntime, tensorflow, tfjs; by default all.',
    choices: ['onnxruntime', 'tensorflow', 'tfjs'],
  },
  {
    name: 'MILLRACE_POOL_<NAME>_WORKFLOWS',
    kind: 'list',
    default: '',
    unit: '',
    description: 'Workflows that the pool runs: names, name@version, a star for any text; by default all.',
  },
  {
    name: 'MILLRACE_POOL_<NAME>_MEMORY',
    kind: 'bytes',
    default: '',
    unit: 'bytes',
    min: 2 ** 20,
    max: 2 ** 43,
    description: 'Device memory that engines of the pool may take in a lane; cuda with the tensorflow engine only.',
  },
  {
    name: 'MILLRACE_POOL_<NAME>_BATCH',
    kind: 'lanes',
    default: '',
    unit: 'rows',
    min: 1,
    max: 65536,
    description: 'Rows of a batch at most, or auto: found by trying. By default auto on a GPU, all on CPUs.',
  },
  {
    name: 'MILLRACE_POOL_<NAME>_BATCH_WAIT_US',
    kind: 'number',
    default: '',
    unit: 'us',
    min: 0,
    max: 10_000_000,
    description: 'Longest wait of rows for company while a thread is free; by default as the workflow says.',
  },
  bytes('MILLRACE_ARENA_BYTES', '256MiB', 'Shared memory of a lane; a power of two.', 2 ** 20, gib),
  bytes('MILLRACE_SLAB_BYTES_MAX', '16MiB', 'Largest slab; a power of two, at most half of the arena.', 4096, gib),
  bytes('MILLRACE_SLAB_STRING_BYTES', '64', 'Bytes that the strings of a row are given.', 1, 2 ** 20),
  number('MILLRACE_BATCH_ROWS_MAX', 4096, 'rows', 'Rows of a batch at most, whatever its workflow says.', 1, 65536),
  number(
    'MILLRACE_BATCH_TIMEOUT_MS',
    30_000,
    'ms',
    'Longest run of a batch; then its callers are answered and its thread is replaced.',
    1,
    day,
  ),
  number(
    'MILLRACE_LOAD_TIMEOUT_MS',
    60_000,
    'ms',
    'Longest load of a version on a thread; then it is failed and the thread is replaced.',
    1,
    day,
  ),
  number('MILLRACE_QUEUE_ROWS_MAX', 65536, 'rows', 'Rows that wait in a queue.', 1, 2 ** 24),
  bytes('MILLRACE_REQUEST_BYTES_MAX', '16MiB', 'Largest request; at most a slab.', 1024, gib),
  number('MILLRACE_REQUEST_ROWS_MAX', 10000, 'rows', 'Rows of a request.', 1, 2 ** 24),
  number('MILLRACE_REQUESTS_IN_FLIGHT_MAX', 65536, 'requests', 'Requests a lane holds.', 1, 2 ** 22),
  bytes(
    'MILLRACE_CONTEXT_BYTES_MAX',
    '16KiB',
    'What a request says beside its inputs: objective, subject, context.',
    64,
    2 ** 24,
  ),
  number('MILLRACE_SOCKETS_MAX', 10_000, 'sockets', 'WebSockets that a lane has open.', 1, 2 ** 22),
  number('MILLRACE_CONNECTIONS_MAX', 8_000, 'sockets', 'Other connections that a lane has open.', 1, 2 ** 22),
  bytes(
    'MILLRACE_ARRIVING_BYTES_MAX',
    '128MiB',
    'Bodies of POSTs that a lane has in part; at least one request.',
    2 ** 16,
    2 ** 40,
  ),
  number('MILLRACE_LIST_ITEMS_MAX', 10_000, 'requests', 'Requests of a list.', 1, 2 ** 20),
  number('MILLRACE_SOCKET_IN_FLIGHT_MAX', 16384, 'requests', 'Requests that one connection has in flight.', 1, 2 ** 22),
  number(
    'MILLRACE_FAIR_WAIT_MS',
    20,
    'ms',
    'About how long rows of one tenant make others wait at most who ask for the same version.',
    1,
    day,
  ),
  bytes('MILLRACE_UNREAD_BYTES_MAX', '128MiB', 'Answers that the clients of a lane leave unread.', 2 ** 16, 2 ** 40),
  number('MILLRACE_RECORD_ONE_IN', 0, 'requests', 'One request in so many is recorded, at random; 0: none.', 0, 1e9),
  text('MILLRACE_RECORD_FILE', '', 'File of what is recorded, with .0, .1 ... behind it where lanes are several.'),
  bytes('MILLRACE_RECORD_BYTES_MAX', '64MiB', 'Largest such file; what comes later is not in it.', 2 ** 16, 2 ** 40),
  number('MILLRACE_DEADLINE_MS_DEFAULT', 10000, 'ms', 'Deadline of a request that names none.', 1, day),
  number('MILLRACE_SHADOW_RUN_MS', 2000, 'ms', 'Longest run of a batch of copies; its thread is ended then.', 10, day),
  choice(
    'MILLRACE_SHADOW_EXAMPLES',
    'yes',
    ['yes', 'no'],
    'Whether requests whose copies differ most are kept, a few, in memory, with their inputs.',
  ),
  number(
    'MILLRACE_PUBLISH_WAIT_MS',
    60_000,
    'ms',
    'Longest wait of a publish for versions that are being loaded.',
    0,
    day,
  ),
  number('MILLRACE_DRAIN_MS', 10000, 'ms', 'Longest wait for requests in flight at a stop.', 0, day),
  number('MILLRACE_START_TIMEOUT_MS', 120000, 'ms', 'Longest start of a lane.', 1, day),
]

export const poolPrefix = 'MILLRACE_POOL_<NAME>_'

/** Adds each variable of ours that does not exist, with the nearest that does. */
export function checkNames(env: NodeJS.ProcessEnv, pools: string[], problems: string[]): void {
  const known = namesOf(pools).map(([name]) => name)
  for (const name of Object.keys(env)) {
    if (!name.startsWith('MILLRACE_') || known.includes(name)) continue
    const nearest = known.reduce((best, one) => (distance(name, one) < distance(name, best) ? one : best))
    problems.push(`${name}: there is no such variable; the nearest is ${nearest}`)
  }
}

/** Every valid name with the variable it is one of. */
export function namesOf(pools: string[]): [string, Variable, string | null][] {
  return variables.flatMap((variable): [string, Variable, string | null][] => {
    if (!variable.name.startsWith(poolPrefix)) return [[variable.name, variable, null]]
    return pools.map((pool) => [poolVariable(pool, variable.name.slice(poolPrefix.length)), variable, pool])
  })
}

/** The name of a pool's own variable. */
export function poolVariable(pool: string, part: string): string {
  return `MILLRACE_POOL_${pool.toUpperCase().replaceAll('-', '_')}_${part}`
}

/** The value that the text means, or why it means none. */
export function parse(variable: Variable, value: string): unknown {
  if (variable.kind === 'text') return value === '' && variable.default !== '' ? new Error('is empty') : value
  if (variable.kind === 'list') {
    const parts = value
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '')
    const unknown = parts.find((part) => variable.choices?.includes(part) === false)
    return unknown === undefined ? parts : new Error(`${unknown} is none of ${variable.choices!.join(', ')}`)
  }
  if (variable.kind === 'cpus') return parseCpuList(value)
  if (variable.kind === 'choice') {
    return variable.choices!.includes(value) ? value : new Error(`is none of ${variable.choices!.join(', ')}`)
  }
  if (variable.kind === 'lanes' && value === 'auto') return 'auto'
  if (value === '' && variable.default === '') return undefined
  const match = /^(\d+)(KiB|MiB|GiB)?$/.exec(value)
  if (match === null || (match[2] !== undefined && variable.kind !== 'bytes')) {
    return new Error(variable.kind === 'bytes' ? 'is not bytes, such as 1024 or 16MiB' : 'is not a whole number')
  }
  const parsed = Number(match[1]) * 1024 ** ['', 'KiB', 'MiB', 'GiB'].indexOf(match[2] ?? '')
  if (parsed >= variable.min! && parsed <= variable.max!) return parsed
  return new Error(`is not between ${variable.min} and ${variable.max}`)
}

function parseCpuList(value: string): number[] | Error {
  if (value.trim() === '') return []
  try {
    return parseCpus(value)
  } catch (error) {
    return error as Error
  }
}

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]!
}
