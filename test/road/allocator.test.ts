import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { repositoryFolder } from '@millrace/demo'
import { hashOfKey } from '@millrace/server'
import { decodeRecording, decodeRequest } from '@millrace/wire'
import { readMetrics } from '../support/metrics'
import { http, serve, stopServed, until, type Served } from '../support/served'

/* Cells of an experimentation platform, with the platform as it should be, slow, broken and gone. */

const folder = mkdtempSync(join(tmpdir(), 'allocator-'))
const platforms: Platform[] = []

cpSync(join(repositoryFolder, 'workflows', 'flight-delay'), join(folder, 'workflows', 'delay'), { recursive: true })
writeFileSync(
  join(folder, 'rules.json'),
  JSON.stringify({
    attributes: { cell: 'text' },
    objectives: { delay: { default: 'delay@1' }, other: { default: 'delay@1' } },
    experiments: [
      {
        id: 'ab-17',
        objectives: ['delay'],
        allocator: true,
        cell_from: 'cell',
        cells: [
          { name: 'old', weight: 1 },
          { name: 'new', weight: 1, workflow: 'delay@2' },
        ],
      },
    ],
  }),
)

afterAll(async () => {
  await stopServed()
  for (const { server } of platforms) server.closeAllConnections()
  await Promise.all(platforms.map(({ server }) => new Promise((resolve) => server.close(resolve))))
  rmSync(folder, { recursive: true })
})

interface Question {
  readonly experiments: readonly string[]
  readonly subjects: readonly string[]
}

interface Platform {
  readonly server: Server
  readonly url: string
  /** As they came. */
  readonly asked: Question[]
  answer: (question: Question, res: ServerResponse) => void
}

const cells: Readonly<Record<string, string | null>> = { ada: 'new', bob: 'old', eve: null, joe: 'no such cell' }
const good: Platform['answer'] = ({ experiments, subjects }, res) => {
  const said = subjects.map((subject) => [subject, Object.fromEntries(experiments.map((one) => [one, cells[subject]]))])
  res.end(JSON.stringify({ cells: Object.fromEntries(said) as object }))
}

async function platform(): Promise<Platform> {
  const server = createServer((req, res) => {
    const pieces: Buffer[] = []
    req.on('data', (piece: Buffer) => pieces.push(piece))
    req.on('end', () => {
      if (req.headers.authorization !== 'Bearer sesame') return void res.writeHead(401).end('who are you?')
      const question = JSON.parse(Buffer.concat(pieces).toString('utf8')) as Question
      one.asked.push(question)
      one.answer(question, res)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/cells`
  const one: Platform = { server, url, asked: [], answer: good }
  platforms.push(one)
  return one
}

/** With a time limit that only tests of it meet. */
async function served(one: Platform, env: Readonly<Record<string, string>> = {}, repository = folder): Promise<Served> {
  return serve(
    {
      MILLRACE_ALLOCATOR: one.url,
      MILLRACE_ALLOCATOR_TOKEN: 'sesame',
      MILLRACE_ALLOCATOR_TIMEOUT_MS: '10000',
      ...env,
    },
    repository,
  )
}

const inputs = { hour: [1], distance: [100] }
function request(subject: string, more: object = {}): object {
  return { objective: 'delay', subject, inputs, ...more }
}

/** What answers a subject: version, rule, cell. */
async function answered(server: Served, subject: string, more: object = {}): Promise<string> {
  const { body } = await server.json(request(subject, more))
  return said(body)
}
function said(body: unknown): string {
  const { code, version, rule, cell, message } = body as Record<string, unknown>
  return code === 'OK' ? `${String(version)} ${String(rule)} ${String(cell)}` : String(message)
}

async function allocations(server: Served): Promise<Record<string, number>> {
  const { series } = readMetrics((await server.admin('GET', '/metrics')).body.toString('utf8'))
  return Object.fromEntries(
    [...series].flatMap(([key, value]) => {
      const result = /^millrace_allocations_total\{result="(.*)"\}$/.exec(key)?.[1]
      return result === undefined ? [] : [[result, value]]
    }),
  )
}

test('the platform says who gets what, and is asked once', async () => {
  const one = await platform()
  const server = await served(one)
  expect(await answered(server, 'ada')).toBe('2 ab-17 new')
  expect(await answered(server, 'bob')).toBe('1 ab-17 old')
  expect(await answered(server, 'eve')).toBe('1 default null')
  expect(await answered(server, 'joe')).toBe('1 ab-17 old')
  // Said by the request itself, of an objective without, and without a subject: nobody is asked.
  expect(await answered(server, 'zoe', { context: { cell: 'new' } })).toBe('2 ab-17 new')
  expect(await answered(server, 'zoe', { objective: 'other' })).toBe('1 default null')
  expect(await answered(server, '')).toBe('1 default null')
  expect(one.asked.map(({ subjects }) => subjects)).toEqual([['ada'], ['bob'], ['eve'], ['joe']])
  expect(one.asked[0]!.experiments).toEqual(['ab-17'])
  const { body } = await server.json([request('ada'), request('eve'), { ...request('bob'), dry_run: true }])
  expect((body as unknown[]).map(said)).toEqual(['2 ab-17 new', '1 default null', '1 ab-17 old'])
  expect(one.asked).toHaveLength(4)
  expect(await allocations(server)).toEqual({ asked: 4, kept: 3 })
  const explained = await server.admin('POST', '/v1/explain', JSON.stringify(request('ada')))
  expect(explained.body.toString('utf8')).toMatch(/the allocator says cell new/)
})

test('requests that come together are one question, binary ones too, and each has its own answer', async () => {
  const one = await platform()
  const server = await served(one)
  const client = server.client()
  // The first question is held until all are there.
  let answer = (): void => undefined
  one.answer = (question, res) => (answer = () => good(question, res))
  const names = Array.from({ length: 50 }, (_, i) => ['ada', 'bob', 'eve', 'joe'][i % 4]!)
  const hour = { dtype: 'f32' as const, values: [1], shape: [1] }
  const asking = names.map((subject) => client.score({ objective: 'delay', subject, inputs: { hour, distance: hour } }))
  await until('all wait', async () => {
    const { allocatorWaiting } = await server.lane()
    return allocatorWaiting === 50 || `${allocatorWaiting} wait`
  })
  one.answer = good
  answer()
  const expected: Record<string, string | null> = { ada: 'new', bob: 'old', eve: null, joe: 'old' }
  expect((await Promise.all(asking)).map(({ route }) => route.cell)).toEqual(names.map((name) => expected[name]))
  expect(one.asked.flatMap(({ subjects }) => subjects).sort()).toEqual(['ada', 'bob', 'eve', 'joe'])
  await server.idle()
})

test('a request that waited for its cell is recorded once', async () => {
  const file = join(folder, 'recorded.mrtf')
  const server = await served(await platform(), { MILLRACE_RECORD_ONE_IN: '1', MILLRACE_RECORD_FILE: file })
  const client = server.client()
  const hour = { dtype: 'f32' as const, values: [1], shape: [1] }
  for (const subject of ['ada', 'bob', 'ada'])
    await client.score({ objective: 'delay', subject, inputs: { hour, distance: hour } })
  await answered(server, 'eve')
  expect(await allocations(server)).toEqual({ asked: 3, kept: 1 })
  await stopServed()
  const recorded = decodeRecording(readFileSync(file)).requests.map(({ message }) => decodeRequest(message).subject)
  expect(recorded).toEqual(['ada', 'bob', 'ada', 'eve'])
})

test('a platform that fails costs nobody an answer: default cells decide and are counted, and it is left alone', async () => {
  const one = await platform()
  const server = await served(one, { MILLRACE_ALLOCATOR_TIMEOUT_MS: '40' })
  const failures: Platform['answer'][] = [
    () => undefined,
    (_, res) => void res.writeHead(500).end('out of order'),
    (_, res) => res.end('{"cells": {"ada": 7}}'),
    (_, res) => void res.destroy(),
    (_, res) => void res.writeHead(302, { location: one.url }).end(),
  ]
  for (const [i, answer] of failures.entries()) {
    one.answer = answer
    expect(await answered(server, `nobody-${i}`)).toBe('1 ab-17 old')
  }
  // Five in a row: nobody waits for it any more.
  const asked = one.asked.length
  const before = await allocations(server)
  expect(before).toEqual({ timeout: 1, error: 4 })
  const burst = await server.json(Array.from({ length: 20 }, (_, i) => request(`burst-${i}`)))
  expect(new Set((burst.body as unknown[]).map(said))).toEqual(new Set(['1 ab-17 old']))
  const { breaker = 0 } = await allocations(server)
  // A machine that stood still for a second may have asked again.
  if (one.asked.length === asked) expect(breaker).toBe(20)
  expect((await server.admin('POST', '/v1/explain', JSON.stringify(request('tom')))).body.toString('utf8')).toMatch(
    /no allocator says the cell: the default cell/,
  )
  one.answer = good
  await until('it is asked again', async () => {
    const cell = await answered(server, 'ada')
    return cell === '2 ab-17 new' || cell
  })
})

test('what it said decides on when it is gone', async () => {
  const one = await platform()
  const server = await served(one, { MILLRACE_ALLOCATOR_SECONDS: '1' })
  expect(await answered(server, 'ada')).toBe('2 ab-17 new')
  one.answer = (_, res) => void res.writeHead(500).end()
  // Asked again, a second later, by a request that does not wait for it.
  await until('it is asked again', async () => {
    expect(await answered(server, 'ada')).toBe('2 ab-17 new')
    return one.asked.length > 1 || 'not yet'
  })
  expect(await answered(server, 'ada')).toBe('2 ab-17 new')
})

test('no more wait than there is room for, and nobody without a platform', async () => {
  const one = await platform()
  const full = await served(one, { MILLRACE_ALLOCATOR_WAITING_BYTES: '0' })
  expect(await answered(full, 'ada')).toBe('1 ab-17 old')
  expect([one.asked.length, await allocations(full)]).toEqual([0, { full: 1 }])
  const without = await serve({}, folder)
  expect(await answered(without, 'ada')).toBe('1 ab-17 old')
  expect(await allocations(without)).toEqual({ none: 1 })
  const rules = JSON.parse((await without.admin('GET', '/v1/rules/versions/1')).body.toString('utf8')) as {
    rules: object
  }
  const published = await without.admin('POST', '/v1/rules', JSON.stringify({ rules: rules.rules }))
  expect(published.body.toString('utf8')).toMatch(/experiment ab-17 .*MILLRACE_ALLOCATOR/)
})

test('who waits for his cell stays the tenant that his key proved, in every form of a request', async () => {
  const one = await platform()
  const key = (tenant: string): string => `mlr_${tenant.padEnd(40, '.')}`
  const tenants = Object.fromEntries(['shop', 'bank'].map((name) => [name, { keys: [hashOfKey(key(name))] }]))
  const repository = join(folder, 'of-tenants')
  cpSync(join(folder, 'workflows'), join(repository, 'workflows'), { recursive: true })
  const rules = {
    objectives: { delay: { default: 'delay@1' } },
    experiments: ['shop', 'bank'].map((tenant) => ({
      id: `of-${tenant}`,
      objectives: ['delay'],
      when: { tenant },
      allocator: true,
      cells: ['old', 'new'].map((name) => ({ name, weight: 1, workflow: name === 'new' ? 'delay@2' : 'delay@1' })),
    })),
  }
  writeFileSync(join(repository, 'rules.json'), JSON.stringify(rules))
  writeFileSync(join(folder, 'tenants.json'), JSON.stringify({ tenants }))
  const server = await served(one, { MILLRACE_TENANTS: join(folder, 'tenants.json') }, repository)
  // ada is new for the shop and old for the bank: what one tenant's request is told is not the other's.
  one.answer = ({ experiments, subjects }, res) => {
    const cell = (experiment: string): string => (experiment === 'of-shop' ? 'new' : 'old')
    const said = Object.fromEntries(experiments.map((experiment) => [experiment, cell(experiment)]))
    res.end(JSON.stringify({ cells: Object.fromEntries(subjects.map((subject) => [subject, said])) as object }))
  }
  const post = async (tenant: string, body: unknown): Promise<unknown> => {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${key(tenant)}` }
    const answer = await http(server.server.port, 'POST', '/v1/score', JSON.stringify(body), headers)
    return JSON.parse(answer.body.toString('utf8'))
  }
  const hour = { dtype: 'f32' as const, values: [1], shape: [1] }
  const ask = async (tenant: string, transport: 'websocket' | 'http', subject: string): Promise<string> => {
    const client = server.client({ transport, token: key(tenant) })
    const { route } = await client.score({ objective: 'delay', subject, inputs: { hour, distance: hour } })
    return `${route.version} ${route.rule} ${String(route.cell)}`
  }
  const expected = { shop: '2 of-shop new', bank: '1 of-bank old' }
  // All at once, and each subject twice: the first of them waits, and is served again when its cell is said.
  for (const tenant of ['shop', 'bank'] as const) {
    const asked = [
      post(tenant, request('ada')).then(said),
      post(tenant, [request('ada'), request('bob')]).then((replies) => (replies as unknown[]).map(said).join()),
      ask(tenant, 'websocket', 'eve'),
      ask(tenant, 'http', 'eve'),
    ]
    const answer = expected[tenant]
    expect(await Promise.all(asked)).toEqual([answer, `${answer},${answer}`, answer, answer])
  }
  expect(await post('bank', request('joe', { context: { tenant: 'shop' } }))).toMatchObject({
    code: 'PERMISSION_DENIED',
  })
  expect(one.asked.flatMap(({ subjects }) => subjects)).not.toContain('joe')
  await server.idle()

  // A key that is taken away while its request waits opens nothing: it is served again by what holds then.
  let release = (): void => undefined
  const { answer } = one
  one.answer = (question, res) => (release = () => answer(question, res))
  const waits = post('shop', request('tom'))
  await until('it waits', async () => (await server.lane()).allocatorWaiting === 1 || 'not yet')
  writeFileSync(join(folder, 'tenants.json'), JSON.stringify({ tenants: { bank: tenants['bank'] } }))
  await until('the key opens nothing', async () => {
    const { code } = (await post('shop', request('ada'))) as { code: string }
    return code === 'UNAUTHENTICATED' || code
  })
  one.answer = answer
  release()
  expect(await waits).toMatchObject({ code: 'UNAUTHENTICATED' })
  await server.idle()
})

test('a server that stops lets nobody wait', async () => {
  const one = await platform()
  const server = await served(one)
  one.answer = () => undefined
  const waits = answered(server, 'ada')
  await until('it waits', async () => (await server.lane()).allocatorWaiting === 1 || 'not yet')
  await stopServed()
  expect(await waits).toBe('1 ab-17 old')
})

test('an address that is none is refused at the start', async () => {
  await expect(serve({ MILLRACE_ALLOCATOR: 'platform' }, folder)).rejects.toThrow(/MILLRACE_ALLOCATOR: must be like/)
})
