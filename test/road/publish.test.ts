import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { repositoryFolder } from '@millrace/demo'
import { http, serve, stopServed, until, type Served } from '../support/served'

/* Rules while a server serves: publish, go back, be refused, start again. */

const root = mkdtempSync(join(tmpdir(), 'publish-'))
let folders = 0

afterAll(async () => {
  await stopServed()
  rmSync(root, { recursive: true })
})

/** A repository with two versions of a model and a third that does not load. */
function repository(rules: object = routed(1)): string {
  const folder = join(root, String(folders++))
  for (const version of ['1', '2'])
    cpSync(join(repositoryFolder, 'workflows', 'flight-delay', version), join(folder, 'workflows', 'delay', version), {
      recursive: true,
    })
  mkdirSync(join(folder, 'workflows', 'delay', '3'))
  writeFileSync(join(folder, 'workflows', 'delay', '3', 'model.onnx'), 'no model')
  writeFileSync(join(folder, 'rules.json'), JSON.stringify(rules))
  return folder
}

/** Rules with which version `version` answers. */
function routed(version: number): object {
  return { objectives: { delay: { default: `delay@${version}` } } }
}

async function ask(
  served: Served,
  method: string,
  path: string,
  body?: object,
): Promise<[number, Record<string, never>]> {
  const answer = await served.admin(method, path, body === undefined ? undefined : JSON.stringify(body))
  return [answer.status, JSON.parse(answer.body.toString('utf8')) as Record<string, never>]
}

const request = { objective: 'delay', subject: 'account-1', inputs: { hour: [1], distance: [100] } }
async function answeredBy(served: Served): Promise<unknown> {
  const { code, version, rules_version } = (await served.json(request)).body as Record<string, unknown>
  return { code, version, rules_version }
}

test('a publish decides from the next request on, and goes back', async () => {
  const served = await serve({}, repository())
  expect(await answeredBy(served)).toEqual({ code: 'OK', version: 1, rules_version: 1 })
  const made = { author: 'ada', note: 'the network is better' }
  expect(await ask(served, 'POST', '/v1/rules', { rules: routed(2), ...made })).toMatchObject([
    200,
    { version: 2, origin: 'publish', ...made },
  ])
  expect(await answeredBy(served)).toEqual({ code: 'OK', version: 2, rules_version: 2 })
  expect(await ask(served, 'GET', '/v1/rules')).toMatchObject([
    200,
    { ...routed(2), version: 2, lanes: [{ lane: 0, version: 2 }], ...made },
  ])
  expect(await ask(served, 'POST', '/v1/rules/rollback', {})).toMatchObject([
    200,
    { version: 3, origin: 'rollback', note: 'version 1 again' },
  ])
  expect(await answeredBy(served)).toEqual({ code: 'OK', version: 1, rules_version: 3 })
  expect((await ask(served, 'GET', '/v1/rules/versions'))[1]).toMatchObject([
    { version: 3, origin: 'rollback' },
    { version: 2, origin: 'publish', ...made },
    { version: 1, origin: 'repository' },
  ])
  expect((await ask(served, 'GET', '/v1/rules/versions/2'))[1]).toMatchObject({ version: 2, rules: routed(2) })
  expect(await ask(served, 'GET', '/v1/rules/versions/9')).toMatchObject([404, { code: 'NOT_FOUND' }])
  expect(await ask(served, 'POST', '/v1/rules/rollback', { version: 9 })).toMatchObject([404, { code: 'NOT_FOUND' }])
})

test.each<[string, object, number, RegExp]>([
  ['rules that do not hold', { objectives: { delay: {} } }, 400, /\$\.objectives\.delay\.default/],
  ['a version that is not there', routed(9), 400, /delay@9 is not loaded/],
  ['a version that failed', routed(3), 400, /delay@3: .*model/],
  [
    'a shadow of a version that failed',
    { ...routed(1), shadows: [{ id: 's', objectives: ['delay'], workflow: 'delay@3', percent: 5 }] },
    400,
    /delay@3: .*model/,
  ],
])('%s: refused with the reason, and nothing is changed', async (_, rules, status, reason) => {
  const folder = repository()
  const served = await serve({}, folder)
  for (const check of [true, false]) {
    const [answered, body] = await ask(served, 'POST', '/v1/rules', { rules, check })
    expect([answered, body]).toMatchObject([status, { message: expect.stringMatching(reason) as string }])
  }
  expect(await answeredBy(served)).toEqual({ code: 'OK', version: 1, rules_version: 1 })
  expect(await ask(served, 'POST', '/v1/rules', { rules: routed(2), check: true })).toEqual([200, { good: true }])
  expect(await answeredBy(served)).toEqual({ code: 'OK', version: 1, rules_version: 1 })
  expect(await ask(served, 'POST', '/v1/rules/rollback', {})).toMatchObject([400, { code: 'FAILED_PRECONDITION' }])
  expect(readdirSync(folder)).not.toContain('.millrace')
})

test('what was in force is in force after a start, until the repository says something new', async () => {
  const folder = repository()
  const first = await serve({}, folder)
  await ask(first, 'POST', '/v1/rules', { rules: routed(2) })
  await stopServed()
  expect(await answeredBy(await serve({}, folder))).toEqual({ code: 'OK', version: 2, rules_version: 2 })
  await stopServed()
  writeFileSync(join(folder, 'rules.json'), JSON.stringify({ ...routed(1), attributes: { country: 'text' } }))
  expect(await answeredBy(await serve({}, folder))).toEqual({ code: 'OK', version: 1, rules_version: 3 })
  await stopServed()
  writeFileSync(join(folder, 'rules.json'), '{ half a file')
  const last = await serve({}, folder)
  expect(await answeredBy(last)).toEqual({ code: 'OK', version: 1, rules_version: 3 })
  expect(last.logged.join('\n')).toMatch(/version 3, the last good one, decides: .*rules\.json/)
})

test('who has no token changes nothing', async () => {
  const served = await serve({ MILLRACE_ADMIN_TOKEN: 'open sesame' }, repository())
  const post = (headers: Readonly<Record<string, string>>) =>
    http(served.server.adminPort, 'POST', '/v1/rules', JSON.stringify({ rules: routed(2) }), headers)
  for (const headers of [{}, { authorization: 'Bearer open' }, { authorization: 'open sesame' }])
    expect((await post(headers as Record<string, string>)).status).toBe(401)
  expect((await served.admin('GET', '/v1/rules')).status).toBe(200)
  expect(await answeredBy(served)).toMatchObject({ version: 1 })
  expect((await post({ authorization: 'Bearer open sesame' })).status).toBe(200)
  expect(await answeredBy(served)).toMatchObject({ version: 2 })
})

test('a hundred publishes and rollbacks under load: no request fails, none is decided half by one', async () => {
  const served = await serve({ MILLRACE_LANES: '2' }, repository())
  /** By rules version, the model version that answers. */
  const answers = new Map([[1, 1]])
  const stopping = new AbortController()
  let scored = 0
  const wrong: string[] = []
  const one = { dtype: 'f32' as const, values: [1], shape: [1] }
  const binary = { ...request, inputs: { hour: one, distance: one } }
  const load = async (): Promise<void> => {
    const client = served.client()
    while (!stopping.signal.aborted && wrong.length === 0) {
      const batch = Array.from({ length: 16 }, () => client.score(binary))
      for (const one of await Promise.allSettled(batch)) {
        scored++
        if (one.status === 'rejected') wrong.push(String(one.reason))
        else {
          const { version, rulesVersion } = one.value.route
          seen.push([rulesVersion, version])
        }
      }
    }
  }
  const seen: [number, number][] = []
  const loads = Array.from({ length: 4 }, load)
  for (let i = 0; i < 100; i++) {
    const [status, body] =
      i % 3 === 2
        ? await ask(served, 'POST', '/v1/rules/rollback', {})
        : await ask(served, 'POST', '/v1/rules', { rules: routed(1 + (i % 2)) })
    expect(status).toBe(200)
    const { version } = body as unknown as { version: number }
    const { rules } = (await ask(served, 'GET', `/v1/rules/versions/${version}`))[1] as unknown as {
      rules: typeof routed
    }
    answers.set(version, Number(/delay@(\d)/.exec(JSON.stringify(rules))![1]))
    await delay(5)
  }
  stopping.abort()
  await Promise.all(loads)
  expect(wrong.slice(0, 5)).toEqual([])
  for (const [rulesVersion, version] of seen)
    if (answers.get(rulesVersion) !== version) wrong.push(`rules ${rulesVersion} answered by version ${version}`)
  expect(wrong.slice(0, 5)).toEqual([])
  // It was a load, and it saw the rules change.
  expect(scored).toBeGreaterThan(500)
  expect(new Set(seen.map(([rulesVersion]) => rulesVersion)).size).toBeGreaterThan(20)
  const { version, lanes } = (await ask(served, 'GET', '/v1/rules'))[1] as unknown as {
    version: number
    lanes: { version: number }[]
  }
  expect([version, lanes.map((lane) => lane.version)]).toEqual([101, [101, 101]])
}, 120_000)

test('a lane that starts again has the rules in force', async () => {
  const served = await serve({}, repository())
  await ask(served, 'POST', '/v1/rules', { rules: routed(2) })
  const { pid } = await served.lane()
  process.kill(pid, 'SIGKILL')
  await until('the lane serves again', async () => {
    const lane = (await served.server.snapshots())[0]
    return lane !== undefined && lane.pid !== pid ? true : 'it does not'
  })
  await until('it answers', async () => {
    const answer = await answeredBy(served).catch((error: unknown) => String(error))
    return typeof answer === 'object' ? true : String(answer)
  })
  expect(await answeredBy(served)).toEqual({ code: 'OK', version: 2, rules_version: 2 })
})

test('requests that came are explained by the rules of then, on each lane, and only to those who may', async () => {
  const canary = (percent: number): object => ({
    ...routed(1),
    canaries: [{ id: 'c', objectives: ['delay'], workflow: 'delay@2', percent }],
  })
  const served = await serve(
    { MILLRACE_ADMIN_TOKEN: 'sesame', MILLRACE_EXPLAIN_REQUESTS: '3' },
    repository(canary(100)),
  )
  const bearing = { authorization: 'Bearer sesame' }
  const post = async (path: string, body: object, headers: Record<string, string> = bearing) => {
    const answer = await http(served.server.adminPort, 'POST', path, JSON.stringify(body), headers)
    return [answer.status, JSON.parse(answer.body.toString('utf8')) as Explained] as const
  }
  interface Explained {
    requests: { id: string; rules: { rule: string }[]; versions: object[]; [more: string]: unknown }[]
  }
  await served.json({ ...request, id: 1, context: { tenant: 'quality' } })
  expect((await post('/v1/rules', { rules: canary(0) }))[0]).toBe(200)
  await served.json({ ...request, id: 2, dry_run: true })
  await served.json({ ...request, id: 3, objective: 'no such', subject: 12 })
  const [status, { requests }] = await post('/v1/explain', { recent: {} })
  expect(status).toBe(200)
  expect(requests).toMatchObject([
    { id: '3', objective: 'no such', subject: '12', rules_version: 2, decision: null },
    { id: '2', rules_version: 2, decision: { version: 1, rule: 'default' } },
    { id: '1', rules_version: 1, decision: { version: 2, rule: 'c' }, context: { tenant: 'quality' }, lane: 0 },
  ])
  expect(requests[2]!.rules).toMatchObject([{ rule: 'c', matched: true }, { rule: 'default' }])
  expect(requests[2]!.versions).toMatchObject([
    { workflow: 'delay', version: 2, lanes: [{ lane: 0, state: 'ready', pools: [{ pool: 'cpu', state: 'ready' }] }] },
  ])
  // The fourth takes the place of the first.
  await served.json({ ...request, id: 4 })
  const [gone, refusal] = await post('/v1/explain', { recent: { id: '1' } })
  expect([gone, refusal]).toMatchObject([
    404,
    { message: expect.stringContaining('MILLRACE_EXPLAIN_REQUESTS') as string },
  ])
  expect(
    (await post('/v1/explain', { recent: { subject: 'account-1', objective: 'delay' } }))[1].requests,
  ).toHaveLength(2)
  expect((await post('/v1/explain', { recent: { id: 7 } }))[0]).toBe(400)
  expect((await post('/v1/explain', { recent: {} }, {}))[0]).toBe(401)
  expect((await post('/v1/explain', { objective: 'delay' }, {}))[0]).toBe(200)
})
