import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { repositoryFolder } from '@millrace/demo'
import { writeOnnx } from '@millrace/engine'
import { serve, stopServed, until, type Served } from '../support/served'

/* Versions that come and go while a server serves, as their owners do it: with folders, rules files and publishes. */

const root = mkdtempSync(join(tmpdir(), 'lifecycle-'))
let folders = 0
let repository: string

beforeEach(() => {
  repository = join(root, String(folders++))
  put('1')
})
afterEach(stopServed)
afterAll(() => rmSync(root, { recursive: true }))

const versionsOf = join(repositoryFolder, 'workflows', 'flight-delay')

/** A folder of the workflow `delay`, there at once as a whole. */
function put(version: string, from = '1'): void {
  const half = join(repository, 'workflows/delay', `.${version}`)
  cpSync(join(versionsOf, from), half, { recursive: true })
  renameSync(half, join(repository, 'workflows/delay', version))
}

function takeAway(version: string): void {
  rmSync(join(repository, 'workflows/delay', version), { recursive: true })
}

const routed = (version: number) => ({ objectives: { delay: { default: `delay@${version}` } } })
const rulesFile = (rules: object | string) =>
  writeFileSync(join(repository, 'rules.json'), typeof rules === 'string' ? rules : JSON.stringify(rules))

type Json = Record<string, never>
async function ask(served: Served, method: string, path: string, body?: object): Promise<[number, Json]> {
  const answer = await served.admin(method, path, body === undefined ? undefined : JSON.stringify(body))
  return [answer.status, JSON.parse(answer.body.toString('utf8')) as Json]
}
const publish = (served: Served, version: number) => ask(served, 'POST', '/v1/rules', { rules: routed(version) })

const request = { objective: 'delay', subject: 'account-1', inputs: { hour: [1], distance: [100] } }
async function answeredBy(served: Served): Promise<unknown[]> {
  const { code, version, rules_version } = (await served.json(request)).body as Record<string, unknown>
  return [code, version, rules_version]
}

interface Workflow {
  readonly name: string
  readonly version: number
  readonly state: string
  readonly since: string
  readonly reason: string | null
  readonly remark: string | null
  readonly lanes: readonly {
    readonly lane: number
    readonly state: string
    readonly pools: readonly { readonly pool: string; readonly state: string; readonly since: string }[]
  }[]
}
async function workflows(served: Served): Promise<Workflow[]> {
  return (await ask(served, 'GET', '/v1/workflows'))[1]['workflows'] as unknown as Workflow[]
}
function states(served: Served, expected: Record<string, string>): Promise<void> {
  return until(`the versions are ${JSON.stringify(expected)}`, async () => {
    const is = Object.fromEntries((await workflows(served)).map(({ version, state }) => [version, state]))
    return JSON.stringify(is) === JSON.stringify(expected) || JSON.stringify(is)
  })
}
function says(served: Served, pattern: RegExp): Promise<void> {
  return until(`the log says ${pattern}`, () =>
    Promise.resolve(served.logged.some((line) => pattern.test(line)) || served.logged.join('\n')),
  )
}
const quick = { MILLRACE_REPOSITORY_POLL_MS: '50' }

test('a folder that is put there is loaded, and answers when rules say so', async () => {
  rulesFile(routed(1))
  const served = await serve({ ...quick, MILLRACE_LANES: '2' }, repository)
  put('2', '2')
  await states(served, { 1: 'ready', 2: 'ready' })
  expect(await answeredBy(served)).toEqual(['OK', 1, 1])
  expect(await publish(served, 2)).toMatchObject([200, { version: 2 }])
  expect(await answeredBy(served)).toEqual(['OK', 2, 2])
  const second = (await workflows(served))[1]!
  const pools = [{ pool: 'cpu', state: 'ready', since: expect.stringMatching(/^20.*Z$/) as string }]
  expect(second.lanes).toMatchObject([
    { lane: 0, state: 'ready', pools },
    { lane: 1, state: 'ready', pools },
  ])
  const metrics = (await served.admin('GET', '/metrics')).body.toString('utf8')
  expect(metrics).toMatch(
    /millrace_workflow_version_state_since_seconds\{lane="1",pool="cpu",workflow="delay",version="2",state="ready"\} \d{10}/,
  )
})

test('a publish waits for what it names, and rules before it decide until then', async () => {
  rulesFile(routed(1))
  // No looks but those of the publish itself.
  const served = await serve({ MILLRACE_REPOSITORY_POLL_MS: '0' }, repository)
  put('2', '2')
  const published = publish(served, 2)
  expect(await answeredBy(served)).toEqual(['OK', 1, 1])
  expect(await published).toMatchObject([200, { version: 2 }])
  expect(await answeredBy(served)).toEqual(['OK', 2, 2])
})

test('a publish that waits in vain is refused with the reasons', async () => {
  rulesFile(routed(1))
  const served = await serve({ ...quick, MILLRACE_PUBLISH_WAIT_MS: '1' }, repository)
  mkdirSync(join(repository, 'workflows/delay/2'))
  writeFileSync(join(repository, 'workflows/delay/2/model.onnx'), 'no model')
  put('3', '2')
  const rules = { objectives: { delay: { default: 'delay@2' }, other: { default: 'delay@3' } } }
  const [status, { message }] = await ask(served, 'POST', '/v1/rules', { rules })
  expect([status, message]).toEqual([400, expect.stringMatching(/delay@2: .*; delay@3: .*/)])
  await states(served, { 1: 'ready', 2: 'failed', 3: 'ready' })
  expect(await publish(served, 2)).toMatchObject([
    400,
    { message: expect.stringMatching(/delay@2: .*model/) as string },
  ])
  expect(await answeredBy(served)).toEqual(['OK', 1, 1])
  // A version that failed never served: its folder may be put right.
  writeFileSync(join(repository, 'workflows/delay/2/model.onnx'), '')
  cpSync(join(versionsOf, '2'), join(repository, 'workflows/delay/2'), { recursive: true })
  await states(served, { 1: 'ready', 2: 'ready', 3: 'ready' })
  expect(await publish(served, 2)).toMatchObject([200, { version: 2 }])
})

test('half a folder is not loaded, nor one that begins with a dot', async () => {
  rulesFile(routed(1))
  const served = await serve(quick, repository)
  const half = join(repository, 'workflows/delay/.2')
  cpSync(join(versionsOf, '2'), half, { recursive: true })
  const growing = join(repository, 'workflows/delay/3')
  mkdirSync(growing)
  for (let bytes = 1; bytes < 20; bytes++) {
    writeFileSync(join(growing, 'model.onnx'), 'x'.repeat(bytes))
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect((await workflows(served)).map(({ version }) => version)).toEqual([1])
  }
  // At rest it is taken for what it is.
  await states(served, { 1: 'ready', 3: 'failed' })
  expect(served.logged.join('\n')).not.toContain('delay@2')
})

test('a version whose folder is gone goes when no rules name it, and comes back when a rollback needs it', async () => {
  rulesFile(routed(1))
  put('2', '2')
  const served = await serve(quick, repository)
  await publish(served, 2)
  takeAway('2')
  await until('its state says so', async () => {
    const { remark } = (await workflows(served))[1]!
    return /its folder is gone; it serves from memory/.test(remark ?? '') || String(remark)
  })
  expect(await answeredBy(served)).toEqual(['OK', 2, 2])
  await ask(served, 'POST', '/v1/rules/rollback', {})
  await states(served, { 1: 'ready' })
  expect(await answeredBy(served)).toEqual(['OK', 1, 3])
  expect(await ask(served, 'POST', '/v1/rules/rollback', { version: 2 })).toMatchObject([
    400,
    { message: expect.stringContaining('delay@2') as string },
  ])
  put('2', '2')
  expect(await ask(served, 'POST', '/v1/rules/rollback', { version: 2 })).toMatchObject([200, { version: 4 }])
  expect(await answeredBy(served)).toEqual(['OK', 2, 4])
  const metrics = (await served.admin('GET', '/metrics')).body.toString('utf8')
  expect(metrics).toMatch(/millrace_requests_total\{.*version="2".*code="OK"\} 1\n/)
})

test('a version is not changed: what was loaded serves, and the state says why', async () => {
  rulesFile(routed(1))
  const served = await serve(quick, repository)
  const before = (await served.json(request)).body as { outputs: unknown }
  cpSync(join(versionsOf, '2'), join(repository, 'workflows/delay/1'), { recursive: true })
  await says(served, /delay@1: its folder was changed; what was loaded serves/)
  expect((await workflows(served))[0]).toMatchObject({
    state: 'ready',
    remark: expect.stringContaining('changed') as string,
  })
  expect((await served.json(request)).body).toMatchObject({ outputs: before.outputs })
})

test('the rules file of the repository is followed, and what does not hold changes nothing', async () => {
  rulesFile(routed(1))
  const served = await serve(quick, repository)
  // Before its version is there: taken when it comes.
  rulesFile(routed(2))
  await says(served, /rules are not taken, version 1 decides: [^]*delay@2/)
  put('2', '2')
  await says(served, /rules version 2 of the repository is in force/)
  expect(await answeredBy(served)).toEqual(['OK', 2, 2])
  rulesFile('{ half a file')
  await says(served, /rules are not taken, version 2 decides: .*rules\.json/)
  expect(await answeredBy(served)).toEqual(['OK', 2, 2])
  expect((await ask(served, 'GET', '/v1/rules'))[1]).toMatchObject({ origin: 'repository', version: 2 })
})

test('without a rules file the highest version answers when it is ready, until rules are published', async () => {
  const served = await serve(quick, repository)
  put('2', '2')
  await says(served, /rules version 2 of the repository is in force/)
  expect(await answeredBy(served)).toEqual(['OK', 2, 2])
  await publish(served, 1)
  put('3', '2')
  await states(served, { 1: 'ready', 2: 'ready', 3: 'ready' })
  expect(await answeredBy(served)).toEqual(['OK', 1, 3])
})

test('a thread, and a lane, that start again load what is there now', async () => {
  const served = await serve({ ...quick, MILLRACE_POOL_CPU_THREADS: '1' }, repository)
  mkdirSync(join(repository, 'workflows/ends/1'), { recursive: true })
  writeFileSync(
    join(repository, 'workflows/ends/1/workflow.ts'),
    `import { column, defineWorkflow } from '@millrace/workflow'
    export default defineWorkflow({
      inputs: { x: column('f32') },
      outputs: { x: column('f32') },
      postprocess() { process.exit(3) },
    })`,
  )
  put('2', '2')
  await says(served, /rules version \d of the repository is in force/)
  await until('both answer', async () => {
    const { objectives } = await served.lane()
    return JSON.stringify(objectives) === '{"delay":["delay@2"],"ends":["ends@1"]}' || JSON.stringify(objectives)
  })
  takeAway('1')
  await until('delay@1 is gone', async () => (await workflows(served)).length === 2 || 'it is not')
  const ends = { objective: 'ends', inputs: { x: [1] } }
  expect((await served.json(ends)).body).toMatchObject({ code: 'UNAVAILABLE' })
  await until('the thread is replaced', async () => (await served.lane()).pools[0]!.readyThreads === 1 || 'it is not')
  expect((await answeredBy(served)).slice(0, 2)).toEqual(['OK', 2])
  const { pid } = await served.lane()
  process.kill(pid, 'SIGKILL')
  await until('the lane serves again', async () => {
    const lane = (await served.server.snapshots())[0]
    return (lane !== undefined && lane.pid !== pid && lane.ready) || 'it does not'
  })
  expect((await answeredBy(served)).slice(0, 2)).toEqual(['OK', 2])
  expect((await served.lane()).workflows.map(({ name, version }) => `${name}@${version}`).sort()).toEqual([
    'delay@2',
    'ends@1',
  ])
})

test('a version that ends its thread, or its lane, when it is loaded fails, and the others serve', async () => {
  rulesFile(routed(1))
  const served = await serve({ ...quick, MILLRACE_LANES: '2', MILLRACE_POOL_CPU_THREADS: '1' }, repository)
  const dying = (version: string, how: string): void => {
    mkdirSync(join(repository, 'workflows/dies', version), { recursive: true })
    writeFileSync(join(repository, 'workflows/dies', version, 'workflow.ts'), `${how}\nexport default {}`)
  }
  dying('1', 'process.exit(3)')
  await until('it failed', async () => {
    const dies = (await workflows(served)).find((one) => (one as { name?: string }).name === 'dies')
    return (
      (dies?.state === 'failed' && /the thread that loaded it ended/.test(dies.reason ?? '')) || JSON.stringify(dies)
    )
  })
  dying('2', "process.kill(process.pid, 'SIGKILL')")
  await says(served, /dies@2 is not tried again: lane 0 ended when it loaded it \(SIGKILL\)/)
  await until('both lanes serve', async () => (await served.server.snapshots()).length === 2 || 'they do not')
  expect(await answeredBy(served)).toEqual(['OK', 1, 1])
  expect((await served.server.snapshots()).map(({ ready }) => ready)).toEqual([true, true])
}, 60_000)

/** `TEST_ROUNDS=200` in CI. */
const rounds = Number(process.env['TEST_ROUNDS'] ?? 12)

test(`${rounds} times a version comes and goes: memory is what it was`, async () => {
  rulesFile(routed(1))
  // Each load that stayed would be seen.
  const side = 2048
  const weights = { w: { dtype: 'f32' as const, shape: [side, side], data: new Float32Array(side * side) } }
  const model = writeOnnx({
    inputs: [{ name: 'x', dtype: 'f32', shape: ['N', side] }],
    outputs: [{ name: 'y', dtype: 'f32', shape: ['N', side] }],
    weights,
    nodes: [{ op: 'MatMul', inputs: ['x', 'w'], outputs: ['y'] }],
  })
  const served = await serve({ MILLRACE_REPOSITORY_POLL_MS: '20', MILLRACE_BATCH_ROWS_MAX: '16' }, repository)
  const rss: number[] = []
  for (let round = 0; round < rounds; round++) {
    mkdirSync(join(repository, 'workflows/.large/1'), { recursive: true })
    writeFileSync(join(repository, 'workflows/.large/1/model.onnx'), model)
    renameSync(join(repository, 'workflows/.large'), join(repository, 'workflows/large'))
    const is = async () => (await workflows(served)).find(({ name }) => name === 'large')?.state
    await until('it is ready', async () => (await is()) === 'ready' || String(await is()))
    rmSync(join(repository, 'workflows/large'), { recursive: true })
    await until('it is gone', async () => (await is()) === undefined || String(await is()))
    rss.push((await served.lane()).rssBytes)
  }
  // It goes up and down with the collector: the most of the first half, and the least of the last quarter.
  const most = Math.max(...rss.slice(0, rounds / 2))
  const least = Math.min(...rss.slice((-rounds / 4) | 0))
  process.stderr.write(`${rounds} rounds: ${most >> 20} MiB at most in the first half, ${least >> 20} MiB at the end\n`)
  expect(least).toBeLessThan(most * 1.1)
  const { arena } = await served.lane()
  expect(arena.usedBytes).toBe(0)
  expect(await answeredBy(served)).toEqual(['OK', 1, 1])
}, 600_000)
