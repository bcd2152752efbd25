import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Client } from '@millrace/client'
import type { RulesFile } from '@millrace/rules'
import type { ShadowReport } from '@millrace/server'
import { readMetrics } from '../support/metrics'
import { Random } from '../support/random'
import { serve, stopServed, until, type Served } from '../support/served'
import { ServedProcess } from '../support/served-process'

/* Copies of requests run on another version, and what differs is recorded; whoever asked notices nothing. */

const root = mkdtempSync(join(tmpdir(), 'shadow-'))
let folders = 0
const random = new Random()

afterEach(stopServed)
afterAll(() => rmSync(root, { recursive: true }))

const each = (y: string, word = "'w' + x[i]"): string =>
  `const { x } = inputs; for (let i = 0; i < x.length; i++) { outputs.y[i] = ${y}; outputs.word.set(i, ${word}) }`

/** Versions of `price`, by what is to know of them. */
const good = each('2 * x[i]')
/** Half more for each, another word for those that are odd. */
const other = each('2 * x[i] + 0.5', "x[i] % 2 === 0 ? 'w' + x[i] : 'odd'")
const reversed = each('-2 * x[i]')
const failing = "throw new Error('as it was made to')"
const slow = `${good} }, async preprocess() { await new Promise((resolve) => setTimeout(resolve, 300))`
const looping = 'for (;;);'
const deadly = 'process.exit(1)'

/** @param bodies of the versions, from 1 on */
function repository(rules: RulesFile, bodies: readonly string[]): string {
  const folder = join(root, String(folders++))
  bodies.forEach((body, i) => {
    const path = join(folder, 'workflows', 'price', String(i + 1))
    mkdirSync(path, { recursive: true })
    writeFileSync(
      join(path, 'workflow.ts'),
      `import { column, defineWorkflow } from '@millrace/workflow'
export default defineWorkflow({
  inputs: { x: column('f32') },
  outputs: { y: column('f32'), word: column('string') },
  batch: { rowsMax: 8 },
  postprocess({ inputs, outputs }) { ${body} },
})`,
    )
  })
  writeFileSync(join(folder, 'rules.json'), JSON.stringify(rules))
  return folder
}

type Shadow = NonNullable<RulesFile['shadows']>[number]

function shadowed(more: Partial<Shadow> = {}): RulesFile {
  const shadow = { id: 'next', objectives: ['price'], workflow: 'price@2', percent: 100, ...more }
  return { objectives: { price: { default: 'price@1' } }, shadows: [shadow] }
}

interface Body {
  readonly shadows: readonly ShadowReport[]
  readonly paused: readonly { readonly version: string; readonly why: string }[]
}

async function shadows(served: Served): Promise<Body> {
  const answer = await served.admin('GET', '/v1/shadows')
  expect(answer.status).toBe(200)
  return JSON.parse(answer.body.toString('utf8')) as Body
}

const sum = (counts: object): number => Object.values(counts).reduce((all: number, n: number) => all + n, 0)

/** Resolves with the report of the only shadow when it has come to that many copies, compared or dropped. */
async function settled(served: Served, copies: number): Promise<ShadowReport> {
  let report!: ShadowReport
  await until(`${copies} copies are settled`, async () => {
    report = (await shadows(served)).shadows[0]!
    return sum(report.copies) === copies || JSON.stringify(report.copies)
  })
  return report
}

/** Asks so often, some at a time; every answer must be right. */
async function ask(client: Client, times: number, rowsMax = 4): Promise<void> {
  let left = times
  const one = async (): Promise<void> => {
    while (left-- > 0) {
      const x = Float32Array.from({ length: random.whole(1, rowsMax) }, () => random.whole(0, 1000))
      const { outputs } = await client.score({ objective: 'price', inputs: { x }, deadlineMs: 60_000 })
      expect(Array.from(outputs['y'] as Float32Array)).toEqual(Array.from(x, (value) => 2 * value))
      expect(outputs['word']).toEqual(Array.from(x, (value) => `w${value}`))
    }
  }
  await Promise.all(Array.from({ length: 8 }, one))
}

test('the report says what two versions differ by, and where', async () => {
  const served = await serve({}, repository(shadowed({ tolerance: 0.4 }), [good, other]))
  for (let i = 0; i < 10; i++) {
    const { body } = await served.json({ id: i, objective: 'price', inputs: { x: [i, i + 1] } })
    expect(body).toMatchObject({ code: 'OK', version: 1, outputs: { y: [2 * i, 2 * i + 2] } })
  }
  const report = await settled(served, 10)
  expect(report).toMatchObject({
    shadow: 'next',
    objective: 'price',
    copy: 'price@2',
    primary: 'price@1',
    rule: 'default',
    percent: 100,
    copies: { compared: 10 },
    codes: [{ primary: 'OK', copy: 'OK', count: 10 }],
    outputs: {
      y: { values: 20, mean: 0.5, max: 0.5, beyond_tolerance: 1, not_finite: 0, kendall_tau: { mean: 1 } },
      word: { values: 20, mean: 0.5, max: 1, beyond_tolerance: 0.5, kendall_tau: null },
    },
    not_compared: [],
    batch: { primary: { rows: 2 } },
  })
  expect(report.examples).toHaveLength(4)
  const [example] = report.examples
  const [x] = example!.inputs!['x'] as [number]
  expect(example).toMatchObject({
    id: String(x),
    rulesVersion: 1,
    rows: 2,
    difference: 1,
    inputs: { x: [x, x + 1] },
    primary: { code: 'OK', outputs: { y: [2 * x, 2 * x + 2], word: [`w${x}`, `w${x + 1}`] } },
    copy: { code: 'OK', outputs: { y: [2 * x + 0.5, 2 * x + 2.5] } },
  })
  await served.idle()

  const { series } = readMetrics((await served.admin('GET', '/metrics')).body.toString('utf8'))
  const of = 'shadow="next",objective="price",copy="price@2",primary="price@1",rule="default"'
  const metric = (name: string, more: string): number | undefined =>
    series.get(`millrace_shadow_${name}{${of},${more}}`)
  expect(metric('copies_total', 'outcome="compared"')).toBe(10)
  expect(metric('codes_total', 'primary_code="OK",copy_code="OK"')).toBe(10)
  expect(metric('values_total', 'output="y"')).toBe(20)
  expect(metric('values_beyond_total', 'output="word"')).toBe(10)
  expect(metric('value_difference_total', 'output="y"')).toBe(10)
  expect(metric('difference_max', 'output="y"')).toBe(0.5)
  expect(series.get(`millrace_shadow_difference_bucket{le="1",${of},output="y"}`)).toBe(10)
  expect(series.get(`millrace_shadow_kendall_tau_count{${of},output="y"}`)).toBe(10)
  expect(series.get(`millrace_shadow_batch_seconds_count{${of},side="copy"}`)).toBe(10)
  // Copies are no requests of anybody; they are counted by their class.
  const answered = (traffic: string, version: number, rule: string): number | undefined =>
    series.get(
      `millrace_requests_total{objective="price",workflow="price",version="${version}",rule="${rule}",traffic="${traffic}",code="OK"}`,
    )
  expect([answered('real', 1, 'default'), answered('shadow', 2, 'next')]).toEqual([10, 10])
  expect(series.get('millrace_tenant_requests_total{tenant="",code="OK"}')).toBe(10)
})

test('rows that are spread over several batches are compared as one request', async () => {
  const served = await serve({}, repository(shadowed(), [good, reversed]))
  await ask(served.client(), 40, 60)
  const report = await settled(served, 40)
  expect(report.copies).toMatchObject({ compared: 40 })
  expect(report.outputs['y']!.kendall_tau!.mean).toBe(-1)
  expect(report.outputs['word']).toMatchObject({ mean: 0, beyond_tolerance: 0 })
  await served.idle()
})

test.each([
  ['fails', failing, { failed: 60 }, 'INTERNAL', 0],
  ['takes other inputs', "', extra: column('f32') }", { failed: 60 }, 'INVALID_ARGUMENT', 0],
])('a shadow that %s costs nobody an answer', async (_, body, outcome, code) => {
  const folder = repository(shadowed(), [good, code === 'INTERNAL' ? body : good])
  if (code === 'INVALID_ARGUMENT')
    writeFileSync(
      join(folder, 'workflows', 'price', '2', 'workflow.ts'),
      `import { column, defineWorkflow } from '@millrace/workflow'
export default defineWorkflow({
  inputs: { x: column('f32'), more: column('f32') },
  outputs: { y: column('f32'), word: column('string') },
  postprocess() {},
})`,
    )
  const served = await serve({}, folder)
  await ask(served.client(), 60)
  const report = await settled(served, 60)
  expect(report).toMatchObject({ copies: outcome, codes: [{ primary: 'OK', copy: code, count: 60 }], outputs: {} })
  expect(report.examples.map(({ copy }) => copy)).toEqual(Array(2).fill({ code, outputs: null }))
  await served.idle()
})

test('a shadow that is slow waits, not the requests; what cannot wait is dropped', async () => {
  const env = { MILLRACE_POOL_CPU_THREADS: '2' }
  const served = await serve(env, repository(shadowed({ in_flight_max: 10 }), [good, slow]))
  await ask(served.client(), 200)
  const { copies } = await settled(served, 200)
  expect(copies.compared).toBeGreaterThan(0)
  expect(copies.limit).toBeGreaterThan(100)
  expect(copies.compared + copies.limit).toBe(200)
  await served.idle()
})

test.each([
  ['ends its thread', deadly],
  ['never comes back', looping],
])(
  'a shadow that %s loses what was copied, and rests',
  async (_, body) => {
    const env = { MILLRACE_POOL_CPU_THREADS: '1', MILLRACE_SHADOW_RUN_MS: '200' }
    const served = await serve(env, repository(shadowed(), [good, body]))
    const client = served.client()
    // With one thread, what ends it has the requests wait for another; none is lost.
    await ask(client, 100)
    await until('a thread was ended', async () => {
      const { paused } = await shadows(served)
      return paused.length === 1 || JSON.stringify(paused)
    })
    await ask(client, 100)
    const { copies } = await settled(served, 200)
    expect(copies.lost).toBeGreaterThan(0)
    expect(copies.paused).toBeGreaterThan(0)
    expect(copies.lost + copies.paused + copies.limit).toBe(200)
    expect((await served.lane()).pools[0]!.restarts).toBe(1)
    const { paused } = await shadows(served)
    expect(paused[0]).toMatchObject({ version: 'price@2' })
    await served.idle()
  },
  30_000,
)

test('a version that fails to load, or goes while it serves, changes nothing for the requests', async () => {
  const env = { MILLRACE_REPOSITORY_POLL_MS: '50' }
  const folder = repository(shadowed(), [good, good, other])
  const second = join(folder, 'workflows', 'price', '2')
  const workflow = readFileSync(join(second, 'workflow.ts'), 'utf8')
  writeFileSync(join(second, 'workflow.ts'), "throw new Error('as it was made to')")
  const served = await serve(env, folder)
  const client = served.client()
  await until('the version failed', async () => {
    const states = (await served.lane()).workflows.map(({ version, state }) => `${version} ${state}`)
    return (states.includes('2 failed') && states.includes('1 ready')) || states.join()
  })
  expect((await served.lane()).notReady).toEqual([])
  await ask(client, 40)
  expect((await settled(served, 40)).copies).toMatchObject({ not_ready: 40 })

  // It is put right, and copied to.
  writeFileSync(join(second, 'workflow.ts'), workflow)
  await until('the version is ready', async () => {
    const states = (await served.lane()).workflows.map(({ version, state }) => `${version} ${state}`)
    return states.includes('2 ready') || states.join()
  })
  await ask(client, 1)
  await until('it is copied to', async () => {
    const { copies } = (await shadows(served)).shadows[0]!
    return copies.compared > 0 || JSON.stringify(copies)
  })

  // It goes while it serves, rules and folder.
  const asking = ask(client, 200)
  rmSync(second, { recursive: true })
  const rules = shadowed({ workflow: 'price@3' })
  expect((await served.admin('POST', '/v1/rules', JSON.stringify({ rules }))).status).toBe(200)
  await asking
  await until('it is gone', async () => {
    const versions = (await served.lane()).workflows.map(({ version }) => version)
    return !versions.includes(2) || versions.join()
  })
  await ask(client, 20)
  expect((await served.lane()).notReady).toEqual([])
  await served.idle()
}, 30_000)

test('a client that goes away takes its copies with it', async () => {
  const served = await serve({}, repository(shadowed(), [slow, good]))
  const client = served.client()
  const asked = client.score({ objective: 'price', inputs: { x: Float32Array.of(1) }, deadlineMs: 60_000 })
  asked.catch(() => undefined)
  await until('it is asked', async () => (await served.lane()).requestsInFlight === 1 || 'it is not')
  await client.close()
  await expect(asked).rejects.toThrow()
  const { copies } = await settled(served, 1)
  expect(copies).toMatchObject({ cancelled: 1 })
  await served.idle()
})

test('rules that are published meanwhile leave the copies that are under way', async () => {
  const rules = shadowed()
  const served = await serve({}, repository(rules, [good, other, reversed]))
  const client = served.client()
  let asked = 0
  for (let publish = 0; publish < 10; publish++) {
    const next = {
      ...rules,
      shadows: rules.shadows!.map((one) => ({ ...one, workflow: `price@${2 + (publish % 2)}` })),
    }
    const asking = ask(client, 50)
    const answer = await served.admin('POST', '/v1/rules', JSON.stringify({ rules: next }))
    expect(answer.status).toBe(200)
    await asking
    asked += 50
  }
  await until('every copy is settled', async () => {
    const { shadows: reports } = await shadows(served)
    const copies = reports.reduce((all, report) => all + sum(report.copies), 0)
    return copies === asked || `${copies} of ${asked}`
  })
  const { shadows: reports } = await shadows(served)
  expect(reports.map(({ copy, percent }) => [copy, percent]).sort()).toEqual([
    ['price@2', null],
    ['price@3', 100],
  ])
  for (const { copy, outputs } of reports) expect(outputs['y']!.kendall_tau!.mean).toBe(copy === 'price@2' ? 1 : -1)
  await served.idle()
}, 30_000)

test('where memory is short copies go first', async () => {
  // Slabs of 128 KiB: eight of them.
  const env = { MILLRACE_ARENA_BYTES: '1MiB', MILLRACE_SLAB_BYTES_MAX: '256KiB', MILLRACE_REQUEST_BYTES_MAX: '256KiB' }
  const folder = repository(shadowed(), [good, good])
  for (const version of ['1', '2'])
    writeFileSync(
      join(folder, 'workflows', 'price', version, 'workflow.ts'),
      `import { column, defineWorkflow } from '@millrace/workflow'
export default defineWorkflow({
  inputs: { x: column('f32', { shape: [2048] }) },
  outputs: { y: column('f32') },
  batch: { rowsMax: 8 },
  postprocess({ inputs, outputs }) { for (let i = 0; i < outputs.y.length; i++) outputs.y[i] = 2 * inputs.x[2048 * i] },
})`,
    )
  const served = await serve(env, folder)
  // Each takes a slab of its own, all of them in one turn: as many as one connection may have.
  const list = Array.from({ length: 5 }, (_, id) => ({
    id,
    objective: 'price',
    inputs: { x: Array.from({ length: 5 }, () => new Array<number>(2048).fill(id)) },
  }))
  const { body } = await served.json(list)
  expect(body).toEqual(
    list.map(({ id }) => expect.objectContaining({ code: 'OK', outputs: { y: Array(5).fill(2 * id) } })),
  )
  expect((await settled(served, 5)).copies).toMatchObject({ memory: 5 })
  // One alone has room for its copy.
  await served.json(list.slice(0, 1))
  expect((await settled(served, 6)).copies).toMatchObject({ memory: 5, compared: 1 })
  await served.idle()
})

test('a server that stops gives threads no more copies, and blames no version for it', async () => {
  // Many batches of copies, one after the other, are more than a server that stops waits for.
  const sleeper = `${good} }, async preprocess() { await new Promise((resolve) => setTimeout(resolve, 3000))`
  const served = await ServedProcess.start(repository(shadowed(), [good, sleeper]), { MILLRACE_POOL_CPU_THREADS: '2' })
  const client = served.client()
  try {
    for (let i = 0; i < 40; i++) await client.score({ objective: 'price', inputs: { x: Float32Array.of(i) } })
    // The first of them runs.
    await delay(500)
  } finally {
    await client.close()
    expect(await served.stop()).toBe(0)
  }
  expect(served.stderr()).not.toContain('ended a thread')
})
