import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ScoreError, type Client } from '@millrace/client'
import { Random } from '../support/random'
import { fixtures, serve, stopServed, until, type Served } from '../support/served'
import { traffic } from '../support/traffic'

/*
 * A thread dies, and the one that replaces it cannot load what it could: a device that does not come back, a file that
 * is gone. The version is served where it can be, refused when that is nowhere, and served again when it can be again.
 */

const random = new Random()
let repository: string
let broken: string
let served: Served
let client: Client

beforeAll(async () => {
  repository = mkdtempSync(join(tmpdir(), 'millrace-pools-'))
  broken = join(repository, 'broken')
  for (const name of ['echo', 'crash'])
    cpSync(join(fixtures, 'workflows', name), join(repository, 'workflows', name), { recursive: true })
  mkdirSync(join(repository, 'workflows/fragile/1'), { recursive: true })
  writeFileSync(
    join(repository, 'workflows/fragile/1/workflow.ts'),
    `import { existsSync } from 'node:fs'
    import { column, defineWorkflow } from '@millrace/workflow'
    if (existsSync(${JSON.stringify(broken)})) throw new Error('broken, as asked')
    export default defineWorkflow({
      inputs: { value: column('i32') },
      outputs: { value: column('i32') },
      postprocess({ inputs, outputs }) {
        if (inputs.value[0] === -1) process.exit(3)
        outputs.value.set(inputs.value)
      },
    })`,
  )
  served = await serve(
    {
      MILLRACE_POOLS: 'a,b',
      MILLRACE_POOL_A_THREADS: '1',
      MILLRACE_POOL_B_THREADS: '1',
      MILLRACE_OVERSUBSCRIBE: 'yes',
    },
    repository,
  )
  client = served.client()
})
afterAll(async () => {
  await stopServed()
  rmSync(repository, { recursive: true })
})

const ask = () => client.score({ objective: 'fragile', inputs: { value: Int32Array.of(7) } })

/** Ends a thread that runs the workflow, and waits for the next one. */
async function endThread(objective: 'crash' | 'fragile'): Promise<void> {
  const restarts = async () => (await served.lane()).pools.reduce((sum, pool) => sum + pool.restarts, 0)
  const before = await restarts()
  const inputs = objective === 'crash' ? { how: 'exit', value: Int32Array.of(1) } : { value: Int32Array.of(-1) }
  await expect(client.score({ objective, inputs })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  await until('the thread is replaced', async () => {
    const { pools } = await served.lane()
    return ((await restarts()) > before && pools.every((pool) => pool.readyThreads === 1)) || JSON.stringify(pools)
  })
}

async function states(): Promise<string[]> {
  const fragile = (await served.lane()).workflows.find(({ name }) => name === 'fragile')!
  return [fragile.state, ...fragile.pools.map(({ state }) => state).sort()]
}

test('what one pool cannot load again the other serves', async () => {
  expect(await states()).toEqual(['ready', 'ready', 'ready'])
  writeFileSync(broken, '')
  await endThread('fragile')
  expect(await states()).toEqual(['ready', 'failed', 'ready'])
  for (let i = 0; i < 20; i++) expect((await ask()).outputs).toMatchObject({ value: Int32Array.of(7) })
  expect((await served.admin('GET', '/v2/health/ready')).status).toBe(200)
})

test('what no pool can load again is refused at once, and nobody else notices', async () => {
  const others = traffic(random, client)
  await endThread('fragile')
  expect(await states()).toEqual(['failed', 'failed', 'failed'])
  const error: unknown = await ask().catch((one: unknown) => one)
  expect(error).toBeInstanceOf(ScoreError)
  expect(error).toMatchObject({ code: 'UNAVAILABLE' })
  const ready = await served.admin('GET', '/v2/health/ready')
  expect(ready.status).toBe(503)
  expect(ready.body.toString('utf8')).toMatch(/fragile@1 failed: .*broken, as asked/)
  expect(await others.stop()).toBeGreaterThan(0)
  await served.idle()
})

test('it is served again when it can be loaded again', async () => {
  rmSync(broken)
  await endThread('crash')
  expect((await states())[0]).toBe('ready')
  expect((await ask()).outputs).toMatchObject({ value: Int32Array.of(7) })
  expect((await served.admin('GET', '/v2/health/ready')).status).toBe(200)
})
