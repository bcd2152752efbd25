import { mlpCases, check, echoCase, plainOutputs } from '../support/load-cases'
import { Random } from '../support/random'
import { serve, stopServed } from '../support/served'

/*
 * Several pools: which runs what is configured, shown, and no matter to clients.
 */

const random = new Random()
afterAll(stopServed)

interface Placed {
  readonly name: string
  readonly state: string
  readonly reason: string | null
  readonly pools: readonly { readonly pool: string; readonly state: string; readonly reason: string | null }[]
}

test('a pool runs the workflows that it takes, and each is served where it is', async () => {
  const served = await serve({
    MILLRACE_POOLS: 'models,rest,twin',
    MILLRACE_POOL_MODELS_WORKFLOWS: 'ml*,image@2',
    MILLRACE_POOL_REST_WORKFLOWS: 'echo@1, mlp',
    MILLRACE_POOL_TWIN_WORKFLOWS: 'echo',
    MILLRACE_POOL_REST_THREADS: '1',
    MILLRACE_POOL_TWIN_THREADS: '1',
  })
  const { workflows } = JSON.parse((await served.admin('GET', '/v1/workflows')).body.toString('utf8')) as {
    workflows: Placed[]
  }
  const states = Object.fromEntries(
    workflows.map(({ name, state, pools }) => [name, [state, ...pools.map((one) => `${one.pool} ${one.state}`)]]),
  )
  expect(states).toMatchObject({
    mlp: ['ready', 'models ready', 'rest ready', 'twin found'],
    echo: ['ready', 'models found', 'rest ready', 'twin ready'],
    image: ['failed', 'models found', 'rest found', 'twin found'],
  })
  expect(workflows.find(({ name }) => name === 'image')!.reason).toMatch(
    /no pool takes it.*MILLRACE_POOL_<NAME>_WORKFLOWS/,
  )
  const client = served.client()
  for (const one of [...(await mlpCases(random, [1, 20])), echoCase(random, 5)]) {
    const { outputs } = await client.score({ objective: one.objective, inputs: one.inputs })
    check(one, { code: 'OK', outputs: plainOutputs(outputs) })
  }
  await expect(client.score({ objective: 'image', inputs: { image: new Float32Array(3) } })).rejects.toMatchObject({
    code: 'UNAVAILABLE',
  })
})

test('rows of a batch are at most what the pool is configured to take', async () => {
  const served = await serve({ MILLRACE_POOL_CPU_BATCH: '2', MILLRACE_POOL_CPU_THREADS: '1' })
  const client = served.client()
  const inputs = { ms: Float32Array.of(20) }
  const answers = await Promise.all(
    Array.from({ length: 9 }, () => client.score({ objective: 'slow', inputs, deadlineMs: 60_000 })),
  )
  const rows = answers.map(({ outputs }) => (outputs['batch_rows'] as Int32Array)[0]!)
  expect(Math.max(...rows)).toBe(2)
  expect((await served.lane()).batchLimits).toContainEqual(
    expect.objectContaining({ pool: 'cpu', workflow: 'slow', rows: 2, rowsFit: null, tooLarge: 0 }),
  )
})

test('rows wait for company as long as the pool is configured to let them', async () => {
  const served = await serve({ MILLRACE_POOL_CPU_BATCH_WAIT_US: '100000', MILLRACE_POOL_CPU_THREADS: '1' })
  const client = served.client()
  const ask = () => client.score({ objective: 'slow', inputs: { ms: Float32Array.of(0) } })
  const first = ask()
  await new Promise((resolve) => setTimeout(resolve, 10))
  const [a, b] = await Promise.all([first, ask()])
  expect([a, b].map(({ outputs }) => (outputs['batch_rows'] as Int32Array)[0])).toEqual([2, 2])
})
