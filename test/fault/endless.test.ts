import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ScoreError, type Client } from '@millrace/client'
import { heavyModel } from '../support/heavy-model'
import { serve, stopServed, until, type Served } from '../support/served'

/*
 * Batches that never end. Code of a workflow is ended wherever it is, and its thread replaced; native code cannot be: its
 * thread is left alone, and a lane that has no other is replaced. Whoever waits for such a batch is answered either way.
 */

const fixture = join(__dirname, '../fixtures/endless')

afterAll(stopServed)

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
