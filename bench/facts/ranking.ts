import { join } from 'node:path'
import { engineFor } from '@millrace/engine'
import { measure, type Run } from '../load/measure'
import { figure, median } from '../report'
import { startMillrace } from '../servers'
import { inFolder, roundsOf, timingOf, type Options, type Suite } from '../suite'
import { ranking as workload, titlesOfRequest } from '../workloads/demo'

/** Microseconds of CPU for a request of 200 titles and an account, both with facts: the demo's title-ranking. */
export interface RankingResult {
  readonly runs: readonly Run[]
  /** The engine alone, in this process, on as many rows as the server's batches had, for 200 of them; by round. */
  readonly engineUs: readonly number[]
  /** Server CPU over the engine's, by round. */
  readonly ratios: readonly number[]
}

const demo = join(__dirname, '../../../apps/demo/repository')

export const ranking: Suite = {
  name: 'ranking',
  about: '200 titles and an account with facts, end to end, against the engine alone',
  usual: false,
  run: async (options) => {
    const results = await benchRanking(options)
    const mid = (of: (run: Run) => number): string => figure(median(results.runs.map(of)))
    const text =
      `200 titles and an account: server CPU ${mid(({ cpuUs }) => cpuUs)} us a request, the engine alone ` +
      `${figure(median(results.engineUs))} us (batches of ${mid(({ batchRows }) => batchRows)} rows): ratio ` +
      `${figure(median(results.ratios))}; ${mid(({ perSecond }) => perSecond)} requests/s`
    return { results, text }
  },
}

function benchRanking(options: Options): Promise<RankingResult> {
  return inFolder(async (folder) => {
    const { env, traffic } = await workload.prepare(folder)
    const server = await startMillrace(env)
    const timing = timingOf(options)
    try {
      const runs: Run[] = []
      const engineUs: number[] = []
      for (let round = 0; round < roundsOf(options); round++) {
        const run = await measure(server, { transport: 'websocket', sockets: 1, inFlight: 8, traffic }, timing)
        if (run.errors + run.refused > 0)
          throw new Error(`not every request was answered: ${JSON.stringify(run.codes)}`)
        runs.push(run)
        engineUs.push(await engineAloneUs(Math.round(run.batchRows), timing.measureMs / 4))
      }
      return { runs, engineUs, ratios: runs.map(({ cpuUs }, i) => cpuUs / engineUs[i]!) }
    } finally {
      await server.stop()
    }
  })
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
