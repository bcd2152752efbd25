import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { seededRandom, type Context } from '@millrace/base'
import type { Client, ScoreAnswer } from '@millrace/client'
import type { RulesFile } from '@millrace/rules'
import { readMetrics } from '../support/metrics'
import { ServedProcess } from '../support/served-process'
import { serve, stopServed, type Served } from '../support/served'

/* What workflows see of a request's context, and by what of it requests are counted. */

const folder = mkdtempSync(join(tmpdir(), 'context-'))
let served: Served
let client: Client

const workflow = `import { attribute, column, defineWorkflow } from '@millrace/workflow'
export default defineWorkflow({
  inputs: { n: column('u32') },
  outputs: { seen: column('string') },
  context: {
    country: attribute('text'),
    age: attribute('number', { missing: -1 }),
    kids: attribute('truth', { missing: false }),
    market: attribute('text', { missing: 'none' }),
    tenant: attribute('text', { missing: 'nobody' }),
    traffic: attribute('text'),
  },
  batch: { rowsMax: 16 },
  postprocess({ rows, requestOf, inputs, context, outputs }) {
    for (let row = 0; row < rows; row++) {
      const at = requestOf[row]!
      const { country, age, kids, market, tenant, traffic } = context
      if (country.at(at) === 'crash') throw new Error('as asked')
      outputs.seen.set(row, [inputs.n[row], country.at(at), age[at], kids[at], market.at(at), tenant.at(at), traffic.at(at)].join('|'))
    }
  },
})`

const rules: RulesFile = {
  attributes: { country: 'text' },
  objectives: { who: { default: 'who@1' }, bare: { default: 'bare@1' } },
  enrichments: [
    { id: 'swiss', objectives: ['who'], when: { country: 'CH' }, set: { market: 'alps', unread: 5 } },
    {
      id: 'all',
      objectives: ['who', 'bare'],
      when: { country: { not_in: ['US'] } },
      set: { market: 'world', age: 99 },
    },
  ],
}

beforeAll(async () => {
  for (const name of ['who', 'bare']) mkdirSync(join(folder, 'workflows', name, '1'), { recursive: true })
  writeFileSync(join(folder, 'workflows/who/1/workflow.ts'), workflow)
  writeFileSync(
    join(folder, 'workflows/who/1/golden.json'),
    JSON.stringify([
      { inputs: { n: [1] }, context: { country: 'CH' }, outputs: { seen: ['1|CH|-1|0|none|nobody|real'] } },
      { inputs: { n: [1] }, code: 'INVALID_ARGUMENT' },
      { inputs: { n: [1] }, context: { country: 'CH', traffic: 'robot' }, code: 'INVALID_ARGUMENT' },
    ]),
  )
  writeFileSync(
    join(folder, 'workflows/bare/1/workflow.ts'),
    `import { column, defineWorkflow } from '@millrace/workflow'
export default defineWorkflow({
  inputs: { n: column('u32') },
  outputs: { n: column('u32') },
  postprocess: ({ inputs, outputs }) => outputs.n.set(inputs.n),
})`,
  )
  writeFileSync(join(folder, 'rules.json'), JSON.stringify(rules))
  served = await serve({ MILLRACE_METRICS_TENANTS_MAX: '2', MILLRACE_SLAB_STRING_BYTES: '1024' }, folder)
  client = served.client()
})
afterAll(async () => {
  await stopServed()
  rmSync(folder, { recursive: true })
})

const n = Uint32Array.of(7)
const ask = (context: Context, objective = 'who'): Promise<ScoreAnswer> =>
  client.score({ objective, context, inputs: { n } })
const seen = async (context: Context): Promise<unknown> => (await ask(context)).outputs['seen']

/** As the page about the language says it. */
function expected(context: Context, row: number): string {
  const { country, kids = false, tenant = 'nobody', traffic = 'real' } = context
  const market = country === 'CH' ? 'alps' : country === 'US' ? (context['market'] ?? 'none') : 'world'
  const age = country === 'US' ? (context['age'] ?? -1) : 99
  return [row, country, age, Number(kids), market, tenant, traffic].join('|')
}

test('declared defaults stand for what is missing, the traffic class is real unless said', async () => {
  expect(await seen({ country: 'US' })).toEqual(['7|US|-1|0|none|nobody|real'])
  const all = { country: 'US', age: 18.5, kids: true, market: 'here', tenant: 'shop', traffic: 'test' }
  expect(await seen(all)).toEqual(['7|US|18.5|1|here|shop|test'])
})

test('what enrichments set counts before what the request says, and the first of them', async () => {
  expect(await seen({ country: 'CH', market: 'mine', age: 1 })).toEqual(['7|CH|99|0|alps|nobody|real'])
  expect(await seen({ country: '' })).toEqual(['7||99|0|world|nobody|real'])
})

test.each<[string, Context, string]>([
  ['missing', {}, 'context.country: is missing; the workflow reads it as text and has nothing in its place'],
  ['of another kind', { country: 5 }, 'context.country: came as number; the workflow reads it as text'],
  [
    'also where a default stands',
    { country: 'US', age: '5' },
    'context.age: came as text; the workflow reads it as number',
  ],
  ['of no class', { traffic: 'robot' }, "context.traffic: 'robot' is none of real, test, synthetic, shadow"],
  ['a tenant that is no text', { tenant: 5 }, 'context.tenant: is a text in every request'],
])('%s: refused with the attribute', async (_, context, message) => {
  const refusal = { code: 'INVALID_ARGUMENT', message: expect.stringContaining(message) as string }
  await expect(ask(context)).rejects.toMatchObject(refusal)
  const json = await served.json({ objective: 'who', context, inputs: { n: [7] } })
  expect([json.status, json.body]).toMatchObject([400, { code: 'INVALID_ARGUMENT', message }])
})

test('every request sees its own, in batches and split over several, in binary and in JSON', async () => {
  const seed = Number(process.env['TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  process.stderr.write(`seed ${seed}\n`)
  const random = seededRandom(seed)
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)]!
  const texts = ['US', 'CH', '', 'a', 'ab', 'abc', 'abcd', 'Österreich', 'x'.repeat(700)]
  const requests = Array.from({ length: 120 }, () => ({
    context: {
      country: pick(texts),
      ...(random() < 0.5 && { age: pick([0, -0.5, 1e300, 42]) }),
      ...(random() < 0.5 && { kids: random() < 0.5 }),
      ...(random() < 0.5 && { market: pick(texts) }),
      ...(random() < 0.5 && { traffic: pick(['real', 'test', 'synthetic', 'shadow']) }),
      ...(random() < 0.3 && { 'nobody reads this': pick(texts) }),
    } as Context,
    rows: pick([1, 1, 2, 5, 16, 17, 40]),
  }))
  await Promise.all(
    requests.map(async ({ context, rows }) => {
      const inputs = { n: Uint32Array.from({ length: rows }, (_, i) => i) }
      const { outputs } = await client.score({ objective: 'who', context, inputs })
      expect(outputs['seen']).toEqual([...inputs.n].map((row) => expected(context, row)))
    }),
  )
  const { body } = await served.json(
    requests.map(({ context }, id) => ({ id, objective: 'who', context, inputs: { n: [id] } })),
  )
  expect((body as { outputs: unknown }[]).map(({ outputs }) => outputs)).toEqual(
    requests.map(({ context }, id) => ({ seen: [expected(context, id)] })),
  )
  await served.idle()
})

test('requests are counted by traffic class and by tenant, of which there are no more than are allowed', async () => {
  const before = readMetrics((await served.admin('GET', '/metrics')).body.toString())
  for (const tenant of ['a', 'b', 'c', 'd', 'a', 'other']) await ask({ country: 'US', tenant, traffic: 'synthetic' })
  await ask({ tenant: 'b', traffic: 'test' }, 'bare')
  await ask({ tenant: 'a', traffic: 'shadow' }).catch(() => undefined)
  const after = readMetrics((await served.admin('GET', '/metrics')).body.toString())
  const grown = (name: string): number => (after.series.get(name) ?? 0) - (before.series.get(name) ?? 0)
  const of = (objective: string, traffic: string, code = 'OK'): number =>
    grown(
      `millrace_requests_total{objective="${objective}",workflow="${objective}",version="1",rule="default",traffic="${traffic}",code="${code}"}`,
    )
  expect([of('who', 'synthetic'), of('bare', 'test'), of('who', 'real')]).toEqual([6, 1, 0])
  expect(of('who', 'shadow', 'INVALID_ARGUMENT')).toBe(1)
  const tenants = [...after.series.keys()].filter((name) => name.startsWith('millrace_tenant_requests_total'))
  const named = new Set(tenants.map((name) => /tenant="(.*?)"/.exec(name)![1]))
  // Requests before this test named one other tenant, and none.
  expect(named).toEqual(new Set(['', 'shop', 'a', 'other']))
  const tenant = (name: string, code = 'OK'): number =>
    grown(`millrace_tenant_requests_total{tenant="${name}",code="${code}"}`)
  expect([tenant('a'), tenant('other'), tenant('')]).toEqual([2, 5, 0])
  expect(tenant('a', 'INVALID_ARGUMENT')).toBe(1)
})

test('rules that set what a version reads as another kind are refused, and say where', async () => {
  const wrong = { ...rules, enrichments: [{ id: 'e', objectives: ['who'], set: { market: 5 } }] }
  const { status, body } = await served.admin('POST', '/v1/rules', JSON.stringify({ rules: wrong }))
  expect([status, body.toString()]).toEqual([
    400,
    expect.stringContaining('$.enrichments[0].set.market: is number, who@1 reads text') as string,
  ])
})

test('an explanation says what was set', async () => {
  const request = { objective: 'who', context: { country: 'CH' } }
  const explained = await served.admin('POST', '/v1/explain', JSON.stringify(request))
  expect(JSON.parse(explained.body.toString())).toMatchObject({
    context: { country: 'CH', market: 'alps', age: 99, unread: 5 },
    rules: expect.arrayContaining([
      {
        rule: 'swiss',
        kind: 'enrichment',
        matched: true,
        reason: 'sets market=alps, unread=5; it holds: country is CH',
      },
    ]) as unknown,
  })
})

test('the log line of a batch that failed says whose requests it had', async () => {
  const process = await ServedProcess.start(folder, {})
  const crash = { objective: 'who', context: { country: 'crash', tenant: 'shop', traffic: 'test' }, inputs: { n } }
  const own = process.client()
  await expect(own.score(crash)).rejects.toMatchObject({ code: 'INTERNAL' })
  await own.close()
  expect(await process.stop()).toBe(0)
  const lines = process
    .stderr()
    .split('\n')
    .filter((line) => line.includes('as asked'))
  expect(JSON.parse(lines[0]!)).toMatchObject({ workflow: 'who@1', traffic: ['test'], tenants: ['shop'] })
})
