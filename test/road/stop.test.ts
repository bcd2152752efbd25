import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ScoreError, type Client } from '@millrace/client'
import type { RulesFile } from '@millrace/rules'
import type { ShadowReport } from '@millrace/server'
import { readMetrics } from '../support/metrics'
import { serve, stopServed, until, type Served } from '../support/served'

/* Canaries that are worse than their limits are taken off by the server itself. */

const root = mkdtempSync(join(tmpdir(), 'stop-'))
let folders = 0

afterEach(stopServed)
afterAll(() => rmSync(root, { recursive: true }))

/** Versions of `price`: 1 is good, 2 fails, 3 is slow, 4 takes other inputs, 5 says half more. */
const bodies = [
  'outputs.y.set(inputs.x)',
  "throw new Error('as it was made to')",
  'outputs.y.set(inputs.x) }, async preprocess() { await new Promise((resolve) => setTimeout(resolve, 50))',
  'outputs.y.set(inputs.x)',
  'outputs.y.set(inputs.x.map((x) => x + 0.5))',
]

function repository(rules: RulesFile): string {
  const folder = join(root, String(folders++))
  bodies.forEach((body, i) => {
    const version = join(folder, 'workflows', 'price', String(i + 1))
    mkdirSync(version, { recursive: true })
    const more = i === 3 ? ", shop: column('f32')" : ''
    writeFileSync(
      join(version, 'workflow.ts'),
      `import { column, defineWorkflow } from '@millrace/workflow'
export default defineWorkflow({
  inputs: { x: column('f32')${more} },
  outputs: { y: column('f32') },
  batch: { rowsMax: 8 },
  postprocess({ inputs, outputs }) { ${body} },
})`,
    )
  })
  writeFileSync(join(folder, 'rules.json'), JSON.stringify(rules))
  return folder
}

type Canary = NonNullable<RulesFile['canaries']>[number]
const objectives = { price: { default: 'price@1' }, offers: { default: 'price@1' } }

function canary(version: number, stop: Canary['stop'], more: Partial<Canary> = {}): RulesFile {
  const rule = { id: 'next', objectives: ['price'], workflow: `price@${version}`, percent: 20, stop, ...more }
  return { objectives, canaries: [rule] }
}

interface Tally {
  ok: number
  /** By `version rule code`. */
  readonly other: Map<string, number>
}

/** Asks with ever new subjects until it holds; every answer is counted. */
async function askUntil(client: Client, holds: () => Promise<boolean>, objective = 'price'): Promise<Tally> {
  const tally: Tally = { ok: 0, other: new Map() }
  let subject = 0
  const one = async (): Promise<void> => {
    try {
      await client.score({ objective, subject: `account-${subject++}`, inputs: { x: Float32Array.of(1) } })
      tally.ok++
    } catch (error) {
      if (!(error instanceof ScoreError)) throw error
      const key = `${error.route?.version} ${error.route?.rule} ${error.code}`
      tally.other.set(key, (tally.other.get(key) ?? 0) + 1)
    }
  }
  const end = Date.now() + 30_000
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`it does not hold: ${JSON.stringify([tally.ok, ...tally.other])}`)
    await Promise.all(Array.from({ length: 32 }, one))
  }
  return tally
}

async function admin<T = never>(served: Served, method: string, path: string, body?: object): Promise<T> {
  const answer = await served.admin(method, path, body === undefined ? undefined : JSON.stringify(body))
  expect([answer.status, answer.body.toString('utf8')]).toEqual([200, expect.anything()])
  return JSON.parse(answer.body.toString('utf8')) as T
}

interface Entry {
  readonly version: number
  readonly origin: string
  readonly author: string
  readonly note: string
  readonly canaries: readonly Canary[]
  readonly warnings: readonly string[]
  readonly lanes: readonly { readonly version: number }[]
}
const current = (served: Served): Promise<Entry> => admin(served, 'GET', '/v1/rules')
const versionIs = (served: Served, version: number) => async (): Promise<boolean> => {
  const { version: now, lanes } = await current(served)
  return now === version && lanes.length > 0 && lanes.every((lane) => lane.version === version)
}

test('a failing canary is taken off, and no request fails but those that it failed', async () => {
  const rules = canary(2, { error_rate_max: 0.5, requests_min: 50 })
  const served = await serve({ MILLRACE_LANES: '2' }, repository(rules))
  const client = served.client({ sockets: 8 })
  const tally = await askUntil(client, versionIs(served, 2))
  expect([...tally.other.keys()]).toEqual(['2 next INTERNAL'])
  expect(tally.ok).toBeGreaterThan(tally.other.get('2 next INTERNAL')!)

  const why = /^of price, (\d+) of \1 answers failed in 60 s, 1 of them: more than error_rate_max 0\.5$/
  const entry = await current(served)
  expect(entry).toMatchObject({ origin: 'stop', author: 'millrace', canaries: [{ id: 'next', percent: 20 }] })
  expect(entry.canaries[0]!.stopped!.why).toMatch(why)
  expect(entry.note).toBe(`canary next taken off: ${entry.canaries[0]!.stopped!.why}`)
  expect(served.logged).toContain(entry.note)

  // Nobody gets it now, and explain says why.
  let asked = 0
  const after = await askUntil(client, () => Promise.resolve(++asked > 20))
  expect(after.other.size).toBe(0)
  const explained = await admin(served, 'POST', '/v1/explain', { objective: 'price', subject: 'account-1' })
  expect(explained).toMatchObject({
    decision: { rule: 'default', version: 1 },
    rules: [
      {
        rule: 'next',
        matched: false,
        reason: `it was stopped at ${entry.canaries[0]!.stopped!.at}: ${entry.canaries[0]!.stopped!.why}`,
      },
      { rule: 'default', matched: true },
    ],
  })

  // Answers are counted by the rule that decided.
  const { series } = readMetrics((await served.admin('GET', '/metrics')).body.toString('utf8'))
  const counted = (rule: string, version: number, code: string): number | undefined =>
    series.get(
      `millrace_requests_total{objective="price",workflow="price",version="${version}",rule="${rule}",traffic="real",code="${code}"}`,
    )
  expect(counted('next', 2, 'INTERNAL')).toBe(tally.other.get('2 next INTERNAL'))
  expect(counted('default', 1, 'OK')).toBe(tally.ok + after.ok)

  // The same file again puts the canary on again, says so, and it is judged by new answers alone.
  const again: Entry = await admin(served, 'POST', '/v1/rules', { rules })
  expect(again).toMatchObject({
    version: 3,
    warnings: [expect.stringMatching(/^canary next runs again; it was stopped/)],
  })
  const second = await askUntil(client, versionIs(served, 4))
  expect(second.other.get('2 next INTERNAL')).toBeGreaterThanOrEqual(50)
  // Going back goes back to before the stop.
  const back: Entry = await admin(served, 'POST', '/v1/rules/rollback', {})
  expect(back).toMatchObject({ version: 5, warnings: [expect.stringMatching(/^canary next runs again/)] })
  // What was stopped stays so in rules that are changed elsewhere.
  const { rules: stopped } = (await admin(served, 'GET', '/v1/rules/versions/4')) as { rules: RulesFile }
  const kept: Entry = await admin(served, 'POST', '/v1/rules', {
    rules: { ...stopped, attributes: { country: 'text' } },
  })
  expect(kept.warnings).toEqual([])
  expect((await askUntil(client, versionIs(served, kept.version))).other.size).toBe(0)
}, 60_000)

test('one that takes too long, and one that refuses what the default takes', async () => {
  const slow = canary(3, { p99_ratio_max: 3, requests_min: 50 }, { percent: 10 })
  const pools = {
    MILLRACE_POOLS: 'cpu,other',
    MILLRACE_POOL_CPU_WORKFLOWS: 'price@1',
    MILLRACE_POOL_OTHER_WORKFLOWS: 'price@2,price@3,price@4',
    MILLRACE_POOL_CPU_THREADS: '1',
    MILLRACE_POOL_OTHER_THREADS: '1',
  }
  const served = await serve(pools, repository(slow))
  const client = served.client({ sockets: 4 })
  const tally = await askUntil(client, versionIs(served, 2))
  expect(tally.other.size).toBe(0)
  expect((await current(served)).note).toMatch(/its p99 of .* ms is .* times the .* ms of the default in 60 s/)

  await admin(served, 'POST', '/v1/rules', { rules: canary(4, { refusal_rate_max: 0.9, requests_min: 50 }) })
  const refused = await askUntil(client, versionIs(served, 4))
  expect([...refused.other.keys()]).toEqual(['4 next INVALID_ARGUMENT'])
  expect((await current(served)).note).toMatch(
    /answers were refused in 60 s, 1 of them: more than refusal_rate_max 0\.9/,
  )
}, 60_000)

test('one that answers otherwise than the default, as a shadow finds', async () => {
  const differing = (stop: Canary['stop'], tolerance: number): RulesFile => ({
    ...canary(5, { requests_min: 50, ...stop }),
    shadows: [
      { id: 'back', objectives: ['price'], workflow: 'price@1', answered_by: ['next'], percent: 100, tolerance },
    ],
  })
  const served = await serve({}, repository(differing({ difference_max: 1, difference_rate_max: 0 }, 0.6)))
  const client = served.client({ sockets: 4 })
  const compared = async (): Promise<number> => {
    const { shadows } = await admin<{ shadows: ShadowReport[] }>(served, 'GET', '/v1/shadows')
    return shadows[0]!.copies.compared
  }
  // Within its limits.
  await askUntil(client, async () => (await compared()) >= 200)
  expect(await current(served)).toMatchObject({ version: 1 })

  await admin(served, 'POST', '/v1/rules', { rules: differing({ difference_max: 0.25 }, 0.6) })
  const tally = await askUntil(client, versionIs(served, 3))
  expect(tally.other.size).toBe(0)
  const entry = await current(served)
  const why =
    /^of price, values of y differ from those of the default by 0\.5 on average in \d+ requests of 60 s that shadow back compared: more than difference_max 0\.25$/
  expect(entry).toMatchObject({ origin: 'stop', author: 'millrace' })
  expect(entry.canaries[0]!.stopped!.why).toMatch(why)
  expect(entry.note).toBe(`canary next taken off: ${entry.canaries[0]!.stopped!.why}`)
  const explained = await admin(served, 'POST', '/v1/explain', { objective: 'price', subject: 'account-1' })
  expect(explained).toMatchObject({
    decision: { rule: 'default', version: 1 },
    rules: expect.arrayContaining([
      expect.objectContaining({ rule: 'next', matched: false, reason: expect.stringContaining('0.25') as string }),
    ]) as object,
  })

  await admin(served, 'POST', '/v1/rules', { rules: differing({ difference_rate_max: 0.9 }, 0.4) })
  await askUntil(client, versionIs(served, 5))
  expect((await current(served)).note).toMatch(
    /(\d+) of \1 values of y differ .*, 1 of them, .*difference_rate_max 0\.9$/,
  )
}, 60_000)

test('what its version answers by other rules, and for other objectives, is not held against it', async () => {
  const rules: RulesFile = {
    attributes: { how: 'text' },
    objectives,
    conditions: [{ id: 'broken', objectives: ['price'], when: { how: 'broken' }, workflow: 'price@2' }],
    canaries: [
      {
        id: 'fine',
        objectives: ['price'],
        workflow: 'price@1',
        percent: 20,
        stop: { error_rate_max: 0, requests_min: 1 },
      },
      // Never asked, and would be stopped by the first answer of the condition or of the other objective.
      {
        id: 'next',
        objectives: ['price'],
        when: { how: 'never' },
        workflow: 'price@2',
        percent: 50,
        stop: { error_rate_max: 0, requests_min: 1 },
      },
      { id: 'other', objectives: ['offers'], workflow: 'price@2', percent: 50 },
    ],
  }
  const served = await serve({}, repository(rules))
  const failed = async (objective: string, context: Record<string, string>): Promise<void> => {
    const codes = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const { body } = await served.json({ objective, subject: `account-${i}`, context, inputs: { x: [1] } })
        return (body as { code: string }).code
      }),
    )
    expect(codes).toContain('INTERNAL')
  }
  await failed('price', { how: 'broken' })
  await failed('offers', {})
  const polled = (await served.lane()).eventLoopDelayUs
  expect(polled).toBeDefined()
  await new Promise((resolve) => setTimeout(resolve, 2500))
  expect(await current(served)).toMatchObject({ version: 1 })
}, 30_000)

test('a lane that dies takes no answers with it that it told', async () => {
  const rules = canary(2, { error_rate_max: 0.5, requests_min: 300 }, { percent: 100 })
  const served = await serve({ MILLRACE_POOL_CPU_THREADS: '1' }, repository(rules))
  const fail = async (times: number): Promise<void> => {
    for (let i = 0; i < times; i++)
      expect((await served.json({ objective: 'price', subject: `account-${i}`, inputs: { x: [1] } })).status).toBe(500)
  }
  await fail(200)
  const { pid, requests } = await served.lane()
  expect(requests).toMatchObject([{ rule: 'next', count: 200 }])
  process.kill(pid, 'SIGKILL')
  await until('another lane serves', async () => {
    const [lane] = await served.server.snapshots()
    return (lane !== undefined && lane.pid !== pid) || 'none'
  })
  expect(await current(served)).toMatchObject({ version: 1 })
  // As many as are missing, of a lane that knows nothing of those before.
  await fail(100)
  await until('it is stopped', async () => (await versionIs(served, 2)()) || 'it is not')
  expect((await current(served)).note).toContain('300 of 300 answers failed')
}, 60_000)
