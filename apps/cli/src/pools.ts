import { isDeepStrictEqual } from 'node:util'
import { engines } from '@millrace/engine'
import { readTopology } from '@millrace/pool'
import { laneEnvironment, type Config, type LaneSeats, type Seated } from '@millrace/server'
import { askServer, type TlsOptions } from './ask-server'
import { configuration } from './configuration'
import { anywhere, count, describeMachine, drawNodes, listSeats, summarise } from './draw-seating'
import { Exit, paint, print, printJson } from './output'

export interface PoolsOptions extends TlsOptions {
  readonly json?: boolean
  readonly repository?: string
  /** Stands for `/`: the /sys and /proc of another machine. */
  readonly root?: string
  /** Compares with the server on the admin port. */
  readonly live?: boolean
}

/** What a server that runs says of its threads. */
interface Live {
  readonly seating: Config['seating']
  readonly lanes: readonly LaneSeats[]
}

/** Who sits where; exit 1 when a server that runs has somebody elsewhere. */
export async function pools({ json, repository, root, live, ...tls }: PoolsOptions): Promise<number> {
  const topology = readTopology(root)
  const config = configuration(repository, { topology, ...(root === undefined ? {} : { memoryBytes: Infinity }) })
  const { set: environment, warnings } = laneEnvironment(config, 0, process.env)
  const server = live === true ? await ask(config, tls) : null
  const misplaced = server === null ? [] : misplacedIn(server, config)
  const plan = {
    machine: topology,
    lanes: config.lanes,
    pools: config.pools,
    seating: config.seating,
    environment,
    warnings: [...config.warnings, ...warnings],
  }
  if (json === true) printJson(server === null ? plan : { ...plan, live: server.lanes, misplaced })
  else {
    print(`${describeMachine(topology)}\n`)
    if (config.seating.pinning === 'cpu') print(`${drawNodes(topology, config)}\n`)
    const names = engines.map(({ name }) => name)
    print(`${listSeats(config, names)}\n\n${summarise(config)}`)
    print(
      `lane 0 starts with ${Object.entries(environment)
        .map((pair) => pair.join('='))
        .join(' ')}`,
    )
    for (const warning of plan.warnings) print(`${paint('yellow', 'warning')} ${warning}`)
    if (server !== null) printLive(server, misplaced)
  }
  return misplaced.length === 0 ? Exit.good : Exit.no
}

async function ask({ adminHost, adminPort, adminTlsCert }: Config, tls: TlsOptions): Promise<Live> {
  const url = `${adminTlsCert === '' ? 'http' : 'https'}://${adminHost.includes(':') ? `[${adminHost}]` : adminHost}:${adminPort}/v1/pools`
  const hint = 'is the server running? (MILLRACE_ADMIN_HOST, MILLRACE_ADMIN_PORT)'
  const { status, body } = await askServer(new URL(url), {}, tls, hint)
  if (status !== 200 || body === null) throw new Error(`${url}: status ${status}; ${hint}`)
  return body as Live
}

/** Why what runs is not what is planned, a line for each thread. */
function misplacedIn(server: Live, config: Config): string[] {
  const lines: string[] = []
  if (!isDeepStrictEqual(server.seating, JSON.parse(JSON.stringify(config.seating))))
    lines.push('the server was started with other variables or on another machine: its plan is not this one')
  for (const { lane, front, pools, others } of server.lanes) {
    const check = (who: string, seated: Seated, inside: boolean): void => {
      if (seated.tid === 0) lines.push(`lane ${lane}: ${who} does not run`)
      else if (!sits(seated, inside))
        lines.push(
          `lane ${lane}: ${who} (${seated.tid}) may run on ${anywhere(seated.actual)}, not ${anywhere(seated.given)}`,
        )
    }
    check('the front thread', front, false)
    for (const { name, threads } of pools)
      threads.forEach((thread, t) => check(`thread ${t} of pool ${name}`, thread, false))
    for (const other of others) check('a thread of an engine, V8 or libuv', other, true)
  }
  return lines
}

/** As given, or `inside` of it; what cannot be read is believed. */
function sits({ given, actual }: Seated, inside: boolean): boolean {
  if (given.length === 0 || actual === null) return true
  return inside ? actual.every((cpu) => given.includes(cpu)) : actual.join() === given.join()
}

function printLive({ lanes }: Live, misplaced: readonly string[]): void {
  const threads = lanes.reduce(
    (sum, { pools, others }) => sum + 1 + others.length + pools.flatMap((one) => one.threads).length,
    0,
  )
  print(`\nserver: ${count(lanes.length, 'lane')}, ${count(threads, 'thread')}, as the kernel tells`)
  for (const line of misplaced) print(`${paint('red', 'wrong')} ${line}`)
  if (misplaced.length === 0) print(`${paint('green', 'good')}  everybody sits where the plan says`)
}
