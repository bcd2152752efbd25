import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Load, measure, type Run } from '@millrace/load'
import { hashOfKey } from '@millrace/server'
import { p99Ratio, p99Together, ratioText } from '../p99-ratio'
import { figure, median, table } from '../report'
import { startApart } from '../servers'
import { inFolder, roundsOf, timingOf, type Options, type Suite } from '../suite'
import { writeDevice, type Device } from '../workloads/device'
import { mlpRequest } from '../workloads/mlp'
import { writeTraffic } from '../workloads/workload'

/** Tenants that ask for nine tenths of their part each, as one more does at first; then it asks for ten times its part. */
const quietTenants = 9
const parts = 0.9
const noisyParts = 10

/** Some thousands of rows a second, so that neither the load nor a stall of the machine is what is measured. */
const device: Device = { batchMs: 2, rowMs: 0.2, rowsMax: 64 }

/** What the tenants that ask for little may wait longer because of the one that asks for much: p99, times. */
const ratioWanted = 1.2

/** What the nine got, all together, and the tenth. */
interface Got {
  readonly quiet: Run
  readonly tenth: Run
}

interface Round {
  /** While the tenth asks for as much as each of them, and while it asks for too much. */
  readonly alike: Got
  readonly noisy: Got
}

export interface FairnessResult {
  /** Requests a second of a closed loop; each tenant's part is as much of it as there are tenants. */
  readonly capacity: number
  /** Due of the nine, and of the tenth in either case. */
  readonly quietPerSecond: number
  readonly alikePerSecond: number
  readonly noisyPerSecond: number
  readonly rounds: readonly Round[]
}

export const fairness: Suite = {
  name: 'fairness',
  about: `what ${quietTenants} tenants notice of one more that asks for ${noisyParts} times its part`,
  usual: false,
  run: async (options) => {
    const results = await benchFairness(options)
    const { rounds } = results
    const ratio = p99Ratio(
      rounds.map(({ noisy }) => noisy.quiet),
      rounds.map(({ alike }) => alike.quiet),
    )
    const text =
      `${fairnessTable(results)}\n\np99 of the ${quietTenants} beside one who asks for ${noisyParts} times his part, times theirs beside one ` +
      `who does not, all rounds together: ` +
      `${ratioText(ratio)}; wanted are ${ratioWanted} at most`
    return { results, text }
  },
}

/** One server, a load of the nine and one of the tenth, who asks for the one and the other in turns. */
function benchFairness(options: Options): Promise<FairnessResult> {
  return inFolder(async (folder) => {
    const names = Array.from({ length: quietTenants }, (_, i) => `quiet-${i}`)
    const repository = join(folder, 'repository')
    writeDevice(repository, 'mlp-64', device)
    const server = await startApart({
      MILLRACE_REPOSITORY: repository,
      MILLRACE_TENANTS: writeTenants(folder, [...names, 'noisy']),
    })
    const requests = Array.from({ length: 256 }, (_, i) => mlpRequest('mlp-64', i))
    const load = { transport: 'websocket', inFlight: 128, traffic: writeTraffic(folder, requests) } as const
    const quiet: Load = { ...load, sockets: quietTenants, keys: names.map(keyOf) }
    const noisy: Load = { ...load, sockets: 8, keys: [keyOf('noisy')] }
    try {
      const timing = timingOf(options)
      // A tenant that is alone may have all.
      const { perSecond: capacity } = await measure(server, noisy, timing)
      const part = capacity / (quietTenants + 1)
      const [alikePerSecond, noisyPerSecond] = [parts * part, noisyParts * part]
      const quietPerSecond = quietTenants * alikePerSecond
      const open = (load: Load, perSecond: number, seed: number): Load => {
        return { ...load, inFlight: 1024, arrivals: { kind: 'poisson', perSecond }, seed }
      }
      // The closed loop warmed it; this is for what the load before left.
      const short = { ...timing, warmMsMax: Math.min(1000, timing.warmMsMax) }
      // From before the others are measured until after that.
      const around = { warmMsMax: 0, measureMs: short.warmMsMax + short.measureMs }
      const rounds: Round[] = []
      for (let round = 1; round <= roundsOf(options); round++) {
        const beside = async (perSecond: number): Promise<Got> => {
          const [quietRun, tenth] = await Promise.all([
            measure(server, open(quiet, quietPerSecond, round), short),
            measure(server, open(noisy, perSecond, round + 1000), around),
          ])
          return { quiet: quietRun, tenth }
        }
        const first = round % 2 === 1 ? await beside(alikePerSecond) : null
        const noisyOne = await beside(noisyPerSecond)
        const one = { alike: first ?? (await beside(alikePerSecond)), noisy: noisyOne }
        rounds.push(one)
        const [a, b] = [one.alike, one.noisy].map((got) => figure(got.quiet.latencyUs.p99))
        options.say(`round ${round}: p99 ${a} us, ${b} us beside one who asks for ${noisyParts} times his part`)
      }
      if (rounds.some(({ alike, noisy }) => alike.quiet.errors + noisy.quiet.errors > 0))
        throw new Error('runs had errors')
      return { capacity, quietPerSecond, alikePerSecond, noisyPerSecond, rounds }
    } finally {
      await server.stop()
    }
  })
}

function keyOf(tenant: string): string {
  return tenant.padEnd(40, '.')
}

/** A file of tenants, each with its key: only who proves who he is has a part of his own. */
function writeTenants(folder: string, names: readonly string[]): string {
  const file = join(folder, 'tenants.json')
  const tenants = Object.fromEntries(names.map((name) => [name, { keys: [hashOfKey(keyOf(name))] }]))
  writeFileSync(file, JSON.stringify({ tenants }))
  return file
}

function fairnessTable({ quietPerSecond, alikePerSecond, noisyPerSecond, rounds }: FairnessResult): string {
  const row = (name: string, due: number, runs: readonly Run[]): (string | number)[] => {
    const limited = runs.filter(({ generator }) => generator.limit !== null).length
    return [
      name,
      due,
      median(runs.map(({ perSecond }) => perSecond)),
      median(runs.map(({ refused, seconds }) => refused / seconds)),
      median(runs.map(({ latencyUs }) => latencyUs.p50)),
      p99Together(runs),
      median(runs.map(({ cpus }) => cpus)),
      limited === 0 ? '' : `the limit in ${limited} of ${runs.length}`,
    ]
  }
  const all = (of: (round: Round) => Run): Run[] => rounds.map(of)
  return table([
    ['tenants', 'due/s', 'good/s', 'refused/s', 'p50 us', 'p99 us', 'server CPUs', 'generator'],
    row(
      `${quietTenants} beside one alike`,
      quietPerSecond,
      all(({ alike }) => alike.quiet),
    ),
    row(
      'the tenth',
      alikePerSecond,
      all(({ alike }) => alike.tenth),
    ),
    row(
      `${quietTenants} beside one who asks for too much`,
      quietPerSecond,
      all(({ noisy }) => noisy.quiet),
    ),
    row(
      'the tenth',
      noisyPerSecond,
      all(({ noisy }) => noisy.tenth),
    ),
  ])
}
