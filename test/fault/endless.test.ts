import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { ScoreError, type Client } from '@millrace/client'
import { writeOnnx } from '@millrace/engine'
import { openLmdb } from '@millrace/facts'
import { heavyModel } from '../support/heavy-model'
import { serve, stopServed, until, type Served } from '../support/served'

/*
 * Batches that never end. Code of a workflow is ended wherever it is, and its thread replaced; native code cannot be: its
 * thread is left alone, and a lane that has no other is replaced. Whoever waits for such a batch is answered either way.
 */

const fixture = join(__dirname, '../fixtures/endless')

afterAll(stopServed)

/** `y = -x`, as an ONNX file. */
function negation(): Uint8Array {
  return writeOnnx({
    inputs: [{ name: 'x', dtype: 'f32', shape: ['N', 1] }],
    outputs: [{ name: 'y', dtype: 'f32', shape: ['N', 1] }],
    weights: {},
    nodes: [{ op: 'Neg', inputs: ['x'], outputs: ['y'] }],
  })
}

async function failure(client: Client, objective: string, inputs: object): Promise<ScoreError> {
  const answer = client.score({ objective, inputs: inputs as never, deadlineMs: 60_000 })
  return answer.then(
    () => Promise.reject(new Error('it was answered')),
    (error: ScoreError) => error,
  )
}

describe('code of a workflow', () => {
  let served: Served
  let client: Client
  let pid: number
  beforeAll(async () => {
    const env = { MILLRACE_POOL_CPU_THREADS: '2', MILLRACE_POOL_CPU_IN_FLIGHT: '1', MILLRACE_BATCH_TIMEOUT_MS: '200' }
    served = await serve(env, fixture)
    client = served.client()
    pid = (await served.lane()).pid
  })

  test.each(['preprocess', 'promise', 'postprocess'])(
    'that does not return from %s: DEADLINE_EXCEEDED, and another thread',
    async (where) => {
      const before = (await served.lane()).pools[0]!.restarts
      const error = await failure(client, 'endless', { where, value: Int32Array.of(1) })
      expect(error.code).toBe('DEADLINE_EXCEEDED')
      expect(error.message).toMatch(/endless@1: its batch has run for [\d.]+ s and is given up/)
      // The other thread serves meanwhile.
      const answer = await client.score({ objective: 'endless', inputs: { where: '', value: Int32Array.of(7) } })
      expect(Array.from(answer.outputs['value'] as Int32Array)).toEqual([7])
      await until('the thread is replaced', async () => {
        const { restarts, readyThreads } = (await served.lane()).pools[0]!
        return (restarts === before + 1 && readyThreads === 2) || JSON.stringify({ restarts, readyThreads })
      })
    },
  )

  test('nothing is left of it', async () => {
    await served.idle()
    expect((await served.lane()).pid).toBe(pid)
  })
})

describe('code of a workflow, other than its three steps', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-endless-'))
  let served: Served
  beforeAll(async () => {
    const put = (path: string, content: string | Uint8Array): void => {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), content)
    }
    put('workflows/several/1/negated.onnx', negation())
    put(
      'workflows/several/1/workflow.ts',
      `import { column, defineWorkflow, onnx } from '@millrace/workflow'
       export default defineWorkflow({
         inputs: { key: column('string') },
         outputs: { y: column('f32') },
         models: { negated: onnx('negated.onnx', { inputs: { x: 'f32' }, outputs: { y: 'f32' } }) },
         async score({ rows, inputs, outputs }, models) {
           const { y } = await models.negated.run({ x: { dtype: 'f32', shape: [rows, 1], data: new Float32Array(rows).fill(-2) } })
           while (inputs.key.toArray().includes('endless'));
           outputs.y.set(y.data)
         },
       })`,
    )
    put(
      'workflows/derived/1/workflow.ts',
      `import { column, defineWorkflow, fact, field } from '@millrace/workflow'
       export default defineWorkflow({
         inputs: { key: column('string') },
         outputs: { y: column('f32') },
         facts: {
           known: fact('prices', {
             by: 'key',
             fields: { price: field('f32') },
             missing: 'refuse',
             derive: {
               columns: { double: field('f32') },
               fill: ({ price }, { double }) => price.forEach((one, i) => {
                 while (one < 0);
                 double[i] = 2 * one
               }),
             },
           }),
         },
         postprocess: ({ facts, outputs }) => outputs.y.set(facts.known.double),
       })`,
    )
    const store = openLmdb(join(folder, 'facts'), { readOnly: false })
    await store.declare({ name: 'prices', key: 'string', fields: [{ name: 'price', dtype: 'f32', shape: [] }] })
    await store.write('prices', [
      ['one', { price: 1 }],
      ['endless', { price: -1 }],
    ])
    await store.close()
    const env = { MILLRACE_POOL_CPU_THREADS: '2', MILLRACE_POOL_CPU_IN_FLIGHT: '1', MILLRACE_BATCH_TIMEOUT_MS: '200' }
    served = await serve(env, folder)
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  test.each([
    ["several models' score", 'several'],
    ["a fact's derive", 'derived'],
  ])('%s', async (_, objective) => {
    const client = served.client()
    const before = (await served.lane()).pools[0]!.restarts
    const error = await failure(client, objective, { key: ['endless'] })
    expect(error.code).toBe('DEADLINE_EXCEEDED')
    expect(error.message).toContain(`${objective}@1: its batch has run for`)
    const answer = await client.score({ objective, inputs: { key: ['one'] } })
    expect(Array.from(answer.outputs['y'] as Float32Array)).toEqual([2])
    await until('the thread is replaced', async () => {
      const { restarts, readyThreads } = (await served.lane()).pools[0]!
      return (restarts === before + 1 && readyThreads === 2) || JSON.stringify({ restarts, readyThreads })
    })
    await served.idle()
  })
})

describe('native code', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-endless-'))
  beforeAll(() => {
    cpSync(join(fixture, 'workflows'), join(folder, 'workflows'), { recursive: true })
    mkdirSync(join(folder, 'workflows/heavy/1'), { recursive: true })
    writeFileSync(join(folder, 'workflows/heavy/1/model.onnx'), heavyModel())
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  const heavy = (client: Client, x: number): Promise<ScoreError> =>
    failure(client, 'heavy', { x: { dtype: 'f32', values: Float32Array.of(x), shape: [1] } })

  test('its callers are answered, its thread is left alone and serves again when it is back', async () => {
    const env = { MILLRACE_POOL_CPU_THREADS: '2', MILLRACE_POOL_CPU_IN_FLIGHT: '1', MILLRACE_BATCH_TIMEOUT_MS: '100' }
    const served = await serve(env, folder)
    const { pid } = await served.lane()
    const client = served.client()
    const error = await heavy(client, 400)
    expect(error.code).toBe('DEADLINE_EXCEEDED')
    expect(error.message).toContain('MILLRACE_BATCH_TIMEOUT_MS')
    const inputs = { where: '', value: Int32Array.of(7) }
    await client.score({ objective: 'endless', inputs })
    await served.idle()
    await Promise.all(Array.from({ length: 8 }, () => client.score({ objective: 'endless', inputs })))
    const lane = await served.lane()
    expect(lane.pid).toBe(pid)
    expect(lane.pools[0]).toMatchObject({ restarts: 0, readyThreads: 2 })
  })

  test('a lane whose threads are all in it is replaced', async () => {
    const env = { MILLRACE_POOL_CPU_THREADS: '1', MILLRACE_BATCH_TIMEOUT_MS: '100', MILLRACE_DRAIN_MS: '100' }
    const served = await serve(env, folder)
    const { pid } = await served.lane()
    const client = served.client()
    expect((await heavy(client, 1024)).code).toBe('DEADLINE_EXCEEDED')
    await until('another lane serves', async () => {
      const lanes = await served.server.snapshots()
      return lanes.some((lane) => lane.ready && lane.pid !== pid) || `${lanes.length}`
    })
    const again = served.client()
    await again.score({ objective: 'endless', inputs: { where: '', value: Int32Array.of(7) } })
    await served.idle()
  })
})
