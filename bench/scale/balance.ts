import { measure } from '@millrace/load'
import { figure, median, spread, table } from '../report'
import { startMillrace, type ServerProcess } from '../servers'
import { inFolder, roundsOf, timingOf, type Options } from '../suite'
import { mlp } from '../workloads/mlp'

/** Requests of the busiest lane over the mean, by round. */
export interface Balance {
  readonly lanes: number
  readonly sockets: number
  /** Where the kernel puts connections, by a hash of their addresses. */
  readonly byChance: readonly number[]
  /** As our client does: a connection to a lane that has more of them than another is tried again. */
  readonly spread: readonly number[]
}

/** Connections take turns, as those of our client do: what a lane gets is then what its connections are. */
const arrivals = { kind: 'even', perSecond: 5000 } as const

/** Few connections, many lanes. */
export function benchBalance(options: Options): Promise<Balance> {
  const [lanes, sockets] = options.smoke ? [2, 4] : [4, 8]
  return inFolder(async (folder) => {
    const { env, traffic } = await mlp.prepare(folder)
    const server = await startMillrace({ ...env, MILLRACE_LANES: String(lanes), MILLRACE_OVERSUBSCRIBE: 'yes' })
    const ratio = async (anyLane: boolean): Promise<number> => {
      const before = await requestsOf(server)
      await measure(
        server,
        { transport: 'websocket', sockets, inFlight: 256, traffic, arrivals, anyLane },
        timingOf(options),
      )
      const each = (await requestsOf(server)).map((count, lane) => count - before[lane]!)
      return Math.max(...each) / (each.reduce((sum, count) => sum + count, 0) / lanes)
    }
    try {
      const [byChance, spread]: [number[], number[]] = [[], []]
      for (let round = 0; round < roundsOf(options); round++) {
        byChance.push(await ratio(true))
        spread.push(await ratio(false))
      }
      return { lanes, sockets, byChance, spread }
    } finally {
      await server.stop()
    }
  })
}

async function requestsOf(server: ServerProcess): Promise<number[]> {
  const lanes = await server.snapshots()
  return lanes
    .sort((a, b) => a.lane - b.lane)
    .map(({ requests }) => requests.reduce((sum, { count }) => sum + count, 0))
}

export function balanceTable({ lanes, sockets, byChance, spread: even }: Balance): string {
  const row = (name: string, ratios: readonly number[]): string[] => [name, figure(median(ratios)), spread(ratios)]
  return table([
    [`${sockets} WebSockets over ${lanes} lanes`, 'busiest lane over mean', 'spread'],
    row('where the kernel puts them', byChance),
    row('as our client does', even),
  ])
}
