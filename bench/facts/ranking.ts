import { strict as assert } from 'node:assert'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { seededRandom } from '@millrace/base'
import { Client } from '@millrace/client'
import { engineFor } from '@millrace/engine'
import { openLmdb } from '@millrace/facts'
import { cpuUs } from '../cpu'
import { median } from '../report'
import { startProcess } from '../road/measure'

/** Microseconds of CPU for a request of 200 titles and an account, both with facts: the demo's title-ranking. */
export interface RankingResult {
  /** All processes and threads of the server. */
  readonly serverUs: number
  /** The engine alone, in this process, on as many rows as the server's batches had, for 200 of them. */
  readonly engineUs: number
  readonly batchRows: number
  readonly perSecond: number
  /** Median of the rounds' own ratios. */
  readonly ratio: number
}

const demo = join(__dirname, '../../../apps/demo/repository')
const titlesOfRequest = 200
const inFlight = 8

export async function benchRanking(rounds: number, measureMs: number): Promise<RankingResult> {
  if (!existsSync(join(demo, 'facts/data.mdb')))
    throw new Error('the demo has no facts yet: npm run prepare-data -w @millrace/demo')
  const titles = await titlesOfDemo()
  const server = await startProcess('server-process.js', {
    MILLRACE_REPOSITORY: demo,
    // The one that is there without an installation.
    MILLRACE_POOL_CPU_ENGINES: 'tfjs,onnxruntime',
  })
  const client = new Client({ url: `http://127.0.0.1:${server.port}` })
  try {
    const random = seededRandom(3)
    const requests = Array.from({ length: 200 }, (_, i) => ({
      objective: 'title-ranking',
      subject: `account-${i}`,
      inputs: {
        account: `account-${Math.floor(random() * 1000)}`,
        title: Array.from({ length: titlesOfRequest }, () => titles[Math.floor(random() * titles.length)]!),
      },
    }))
    const load = async (ms: number): Promise<number> => {
      const end = performance.now() + ms
      let replies = 0
      const one = async (first: number): Promise<void> => {
        for (let i = first; performance.now() < end; i += inFlight) {
          const { outputs } = await client.score(requests[i % requests.length]!)
          assert.equal(outputs['score']?.length, titlesOfRequest)
          replies++
        }
      }
      await Promise.all(Array.from({ length: inFlight }, (_, i) => one(i)))
      return replies
    }
    await load(measureMs)
    const runs: RankingResult[] = []
    for (let round = 0; round < rounds; round++) {
      const before = await server.batches()
      const [begun, cpu] = [performance.now(), cpuUs(server.pid)]
      const replies = await load(measureMs)
      const serverUs = (cpuUs(server.pid) - cpu) / replies
      const seconds = (performance.now() - begun) / 1000
      const after = await server.batches()
      const batchRows = (after.rows - before.rows) / (after.batches - before.batches)
      const engineUs = await engineAloneUs(Math.round(batchRows), measureMs / 4)
      runs.push({ serverUs, engineUs, batchRows, perSecond: replies / seconds, ratio: serverUs / engineUs })
      await delay(50)
    }
    const mid = (of: (run: RankingResult) => number): number => median(runs.map(of))
    return {
      serverUs: mid((run) => run.serverUs),
      engineUs: mid((run) => run.engineUs),
      batchRows: mid((run) => run.batchRows),
      perSecond: mid((run) => run.perSecond),
      ratio: mid((run) => run.ratio),
    }
  } finally {
    await client.close()
    await server.stop()
  }
}

async function titlesOfDemo(): Promise<string[]> {
  const store = openLmdb(join(demo, 'facts'), { readOnly: true })
  const titles: string[] = []
  await store.scan('titles', (key) => titles.push(String(key)) > 0)
  await store.close()
  return titles
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
