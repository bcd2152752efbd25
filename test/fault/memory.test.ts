import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ScoreError, type Client } from '@millrace/client'
import { hungryModel } from '../support/hungry-model'
import { plainOutputs } from '../support/load-cases'
import { readMetrics } from '../support/metrics'
import { Random } from '../support/random'
import { fixtures, serve, stopServed, type Served } from '../support/served'
import { traffic } from '../support/traffic'

/*
 * A model that asks for more memory than any machine has, for batches of more than four rows and for rows below zero,
 * beside others that have nothing to do with it.
 */

const random = new Random()
const fits = 4
let repository: string
let served: Served
let client: Client

beforeAll(async () => {
  repository = mkdtempSync(join(tmpdir(), 'millrace-memory-'))
  cpSync(join(fixtures, 'workflows/echo'), join(repository, 'workflows/echo'), { recursive: true })
  mkdirSync(join(repository, 'workflows/hungry/1'), { recursive: true })
  // Its rows are known only to `score`, so nothing is warmed and the first large batch finds out.
  writeFileSync(join(repository, 'workflows/hungry/1/model.onnx'), hungryModel(fits))
  writeFileSync(
    join(repository, 'workflows/hungry/1/workflow.ts'),
    `import { column, defineWorkflow, onnx } from '@millrace/workflow'
    export default defineWorkflow({
      inputs: { x: column('f32'), note: column('string', { per: 'request' }) },
      outputs: { y: column('f32'), note: column('string', { per: 'request' }) },
      models: { only: onnx('model.onnx', { inputs: { x: 'f32' }, outputs: { y: 'f32' } }) },
      async score({ rows, requests, inputs, outputs }, models) {
        for (let request = 0; request < requests; request++) outputs.note.set(request, inputs.note.at(request))
        const { y } = await models.only.run({ x: { dtype: 'f32', shape: [rows, 1], data: inputs.x } })
        outputs.y.set(y.data)
      },
    })`,
  )
  served = await serve({ MILLRACE_POOL_CPU_THREADS: '2' }, repository)
  client = served.client()
})
afterAll(async () => {
  await stopServed()
  rmSync(repository, { recursive: true })
})

async function ask(rows: number, note: string, below = -1): Promise<void> {
  const x = Float32Array.from({ length: rows }, (_, row) => (row === below ? -1 : random.whole(0, 1000)))
  const answer = await client.score({ objective: 'hungry', inputs: { x, note } }).catch((error: ScoreError) => error)
  if (below < 0) {
    if (answer instanceof Error) throw answer
    expect(plainOutputs(answer.outputs)).toEqual({ y: Array.from(x, (one) => one + 1), note: [note] })
    return
  }
  expect(answer).toMatchObject({ code: 'RESOURCE_EXHAUSTED' })
  expect((answer as ScoreError).message).toMatch(
    /one row of hungry@1 does not fit the memory of cpu: model 'only': Failed to allocate memory/,
  )
}

async function tooLarge(): Promise<number> {
  const page = readMetrics((await served.admin('GET', '/metrics')).body.toString('utf8'))
  return page.series.get('millrace_batch_out_of_memory_total{pool="cpu",workflow="hungry",version="1"}') ?? 0
}

test('what does not fit runs in parts, and then gathers no further', async () => {
  expect(await tooLarge()).toBe(0)
  await ask(60, 'first')
  // 60 to 30, 15, 7, 3.
  expect(await tooLarge()).toBe(4)
  expect((await served.lane()).batchLimits).toEqual([
    { pool: 'cpu', workflow: 'hungry', version: 1, rows: 3, waitUs: 0, rowsFit: 3, tooLarge: 4 },
  ])
  const page = (await served.admin('GET', '/metrics')).body.toString('utf8')
  expect(page).toContain('millrace_batch_rows_limit{lane="0",pool="cpu",workflow="hungry",version="1"} 3')
})

test('rows that are too large alone refuse their requests, and nobody else', async () => {
  const others = traffic(random, client)
  await Promise.all(
    Array.from({ length: 40 }, (_, i) => {
      const rows = random.whole(1, 20)
      return ask(rows, `request ${i}`, i % 4 === 0 ? random.whole(0, rows - 1) : -1)
    }),
  )
  expect(await others.stop()).toBeGreaterThan(0)
})

test('no thread was lost and nothing is left behind', async () => {
  await served.idle()
  const { pools, notReady } = await served.lane()
  expect(pools).toMatchObject([{ name: 'cpu', readyThreads: 2, restarts: 0 }])
  expect(notReady).toEqual([])
})
