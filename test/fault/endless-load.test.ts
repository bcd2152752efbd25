import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serve, stopServed, until, type Served } from '../support/served'

/*
 * Versions that never come to an end of being loaded: in their file, in a golden request, or waiting for what never comes. The
 * version is failed and says why, its thread is replaced, and other versions serve.
 */

const fixture = join(__dirname, '../fixtures/endless')
const folder = mkdtempSync(join(tmpdir(), 'millrace-endless-load-'))
// Enough for a version that does end, on a machine that is busy.
const timeoutMs = 4000

afterAll(async () => {
  await stopServed()
  rmSync(folder, { recursive: true })
})

function put(name: string, files: Readonly<Record<string, string>>): void {
  const half = join(folder, 'workflows', name, '.1')
  mkdirSync(half, { recursive: true })
  for (const [file, text] of Object.entries(files)) writeFileSync(join(half, file), text)
  renameSync(half, join(folder, 'workflows', name, '1'))
}

const looping = (where: string): string => `
import { column, defineWorkflow } from '@millrace/workflow'
export default defineWorkflow({
  inputs: { value: column('i32') },
  outputs: { value: column('i32') },
  ${where}
})`

let served: Served

async function serves(): Promise<void> {
  const inputs = { where: '', value: Int32Array.of(7) }
  const answer = await served.client().score({ objective: 'endless', inputs })
  expect(Array.from(answer.outputs['value'] as Int32Array)).toEqual([7])
}

function stands(name: string, state: string): Promise<void> {
  return until(`${name}@1 is ${state}`, async () => {
    const version = (await served.lane()).workflows.find((one) => one.name === name)
    return version?.state === state || JSON.stringify(version)
  })
}

/** It says how far it came. */
async function failed(name: string, state: string): Promise<void> {
  await stands(name, 'failed')
  const { reason } = (await served.lane()).workflows.find((one) => one.name === name)!
  expect(reason).toBe(`it was still ${state} after ${timeoutMs} ms (MILLRACE_LOAD_TIMEOUT_MS)`)
}

function bothServe(restarts: (count: number) => boolean): Promise<void> {
  return until('both threads serve, of those that are there now', async () => {
    const pool = (await served.lane()).pools[0]!
    return (restarts(pool.restarts) && pool.readyThreads === 2) || JSON.stringify(pool)
  })
}

test('that a lane finds when it starts, in the file: it starts, and serves the others', async () => {
  cpSync(join(fixture, 'workflows'), join(folder, 'workflows'), { recursive: true })
  put('loops', { 'workflow.ts': 'for (;;);\nexport default {}' })
  served = await serve(
    {
      MILLRACE_POOL_CPU_THREADS: '2',
      MILLRACE_LOAD_TIMEOUT_MS: String(timeoutMs),
      MILLRACE_REPOSITORY_POLL_MS: '50',
    },
    folder,
  )
  await failed('loops', 'loading')
  await serves()
  // One of them may have been so late that it knew already.
  await bothServe((count) => count >= 1)
})

test.each([
  ['a golden request that loops', 'golden', 'postprocess() { for (;;); },'],
  [
    'a golden request that waits for ever',
    'waiting',
    'preprocess: () => new Promise(() => undefined), postprocess() {},',
  ],
])('that comes while it serves, with %s: one thread is lost', async (_, name, where) => {
  const { pid, pools } = await served.lane()
  put(name, {
    'golden.json': '[{ "inputs": { "value": [1] }, "outputs": { "value": [1] } }]',
    'workflow.ts': looping(where),
  })
  await stands(name, 'validating')
  // The other thread does meanwhile.
  await serves()
  await failed(name, 'validating')
  await bothServe((count) => count === pools[0]!.restarts + 1)
  await serves()
  expect((await served.lane()).pid).toBe(pid)
  await served.idle()
})
