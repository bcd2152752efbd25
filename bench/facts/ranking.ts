import { join } from 'node:path'
import { engineFor } from '@millrace/engine'
import { measure, type Run } from '@millrace/load'
import { median, spread, table } from '../report'
import { startMillrace } from '../servers'
import { inFolder, roundsOf, timingOf, type Options, type Suite } from '../suite'
import { ranking as workload, titlesOfRequest } from '../workloads/demo'

/** Microseconds of CPU for a request of 200 titles and an account, both with facts: the demo's title-ranking. */
export interface RankingResult {
  readonly load: { readonly sockets: number; readonly inFlight: number }
  readonly runs: readonly Run[]
  /** The engine alone, in this process, on as many rows as the server's batches had, for 200 of them; by round. */
  readonly engineUs: readonly number[]
  /** Server CPU over the engine's, by round. */
  readonly ratios: readonly number[]
}

const demo = join(__dirname, '../../../apps/demo/repository')

/** Few at once, and as many as keep the pool's thread at work. */
const loads = [
  { sockets: 1, inFlight: 8 },
  { sockets: 4, inFlight: 16 },
] as const

export const ranking: Suite = {
  name: 'ranking',
  about: '200 titles and an account with facts, end to end, against the engine alone',
  usual: false,
  run: async (options) => {
    const results = await benchRanking(options)
    return { results, text: rankingTable(results) }
  },
}

function benchRanking(options: Options): Promise<RankingResult[]> {
  return inFolder(async (folder) => {
    const { env, traffic } = await workload.prepare(folder)
    const server = await startMillrace(env)
    const timing = timingOf(options)
    const results = loads.map((load) => ({ load, runs: [] as Run[], engineUs: [] as number[], ratios: [] as number[] }))
    try {
      for (let round = 0; round < roundsOf(options); round++)
        for (const { load, runs, engineUs, ratios } of results) {
          const run = await measure(server, { transport: 'websocket', ...load, traffic }, timing)
          if (run.errors + run.refused > 0)
            throw new Error(`not every request was answered: ${JSON.stringify(run.codes)}`)
          const engine = await engineAloneUs(Math.round(run.batchRows), timing.measureMs / 4)
          runs.push(run)
          engineUs.push(engine)
          ratios.push(run.cpuUs / engine)
        }
      return results
    } finally {
      await server.stop()
    }
  })
}

function rankingTable(results: readonly RankingResult[]): string {
  return table([
    ['200 titles and an account', 'requests/s', 'server CPU us', 'engine alone us', 'ratio', 'spread', 'batch rows'],
    ...results.map(({ load, runs, engineUs, ratios }) => {
      const mid = (of: (run: Run) => number): number => median(runs.map(of))
      return [
        `WebSocket, ${load.sockets} x ${load.inFlight} in flight`,
        mid(({ perSecond }) => perSecond),
        mid(({ cpuUs }) => cpuUs),
        median(engineUs),
        median(ratios),
        spread(ratios),
        mid(({ batchRows }) => batchRows),
      ]
    }),
  ])
}

/** CPU of this process for 200 rows, in batches of `rows`. */
async function engineAloneUs(rows: number, ms: number): Promise<number> {
  const engine = await engineFor('tfjs', ['tfjs']).create({ threads: 1, device: 'cpu' })
  const path = join(demo, 'workflows/title-ranking/1/model/model.json')
  const model = await engine.load({ format: 'tfjs', path })
  const width = model.inputs[0]!.shape[1]!
  const data = Float32Array.from({ length: rows * width }, (_, i) => (i % 7) / 7)
  const inputs = { [model.inputs[0]!.name]: { dtype: 'f32', shape: [rows, width], data } } as const
  const run = async (until: number): Promise<number> => {
    let batches = 0
    for (; performance.now() < until; batches++) await model.run(inputs)
    return batches
  }
  await run(performance.now() + ms)
  const begun = process.cpuUsage()
  const batches = await run(performance.now() + ms)
  const { user, system } = process.cpuUsage(begun)
  model.dispose()
  return ((user + system) / batches / rows) * titlesOfRequest
}
