import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { decodeReply } from '@millrace/wire'
import { echoMessage, message } from '../support/messages'
import { readMetrics, wentBack, type MetricsPage } from '../support/metrics'
import { Random } from '../support/random'
import { RawSocket } from '../support/raw-socket'
import { fixtures, http, serve, stopServed, until, type Served } from '../support/served'
import { millrace, ServedProcess } from '../support/served-process'
import { traffic } from '../support/traffic'

/* Lanes are replaced, and servers stop, while they have all that they can do: nobody who asks by the client notices. */

const random = new Random()
/** Two workflows that load in no time. */
const repository = mkdtempSync(join(tmpdir(), 'millrace-restart-'))
for (const name of ['echo', 'slow'])
  cpSync(join(fixtures, 'workflows', name), join(repository, 'workflows', name), { recursive: true })
afterAll(() => rmSync(repository, { recursive: true }))

const env = { MILLRACE_TRANSPORT: 'uws', MILLRACE_POOL_CPU_THREADS: '1', MILLRACE_ARENA_BYTES: '32MiB' }
afterEach(stopServed)

const pids = async (served: Served): Promise<number[]> =>
  (await served.server.snapshots()).sort((a, b) => a.lane - b.lane).map(({ pid }) => pid)
const scrape = async (served: Served): Promise<MetricsPage> =>
  readMetrics((await served.admin('GET', '/metrics')).body.toString('utf8'))
const answered = (page: MetricsPage): number =>
  [...page.series].reduce(
    (sum, [key, count]) => (/^millrace_requests_total\{objective="echo".*code="OK"/.test(key) ? sum + count : sum),
    0,
  )

test('lanes are replaced under load: no request fails, no count goes back, it is ready throughout', async () => {
  const served = await serve({ ...env, MILLRACE_LANES: '2' }, repository)
  const clients = [
    ...Array.from({ length: 8 }, () => served.client({ retries: 2, sockets: 2 })),
    ...Array.from({ length: 4 }, () => served.client({ retries: 2, transport: 'http' })),
  ]
  const load = traffic(random, ...clients, ...clients, ...clients)
  const before = await pids(served)
  let page = await scrape(served)
  const restarted = served.admin('POST', '/v1/restart')
  const ended = restarted.then(() => true)
  do {
    expect((await served.admin('GET', '/v2/health/ready')).body.toString('utf8').trim()).toBe('{"ready":true}')
    const next = await scrape(served)
    expect(wentBack(page, next)).toEqual([])
    page = next
  } while ((await Promise.race([ended, delay(20)])) !== true)
  const { status, body } = await restarted
  const replaced = (JSON.parse(body.toString('utf8')) as { lanes: { lane: number; pid: number }[] }).lanes
  expect([status, replaced.map(({ lane }) => lane)]).toEqual([200, [0, 1]])
  const after = await pids(served)
  expect(replaced.map(({ pid }) => pid)).toEqual(after)
  for (const pid of before) {
    expect(after).not.toContain(pid)
    expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  }
  const count = await load.stop()
  expect(count).toBeGreaterThan(100)
  // What the lanes that are gone answered last is counted as well; twice, where a connection ended before its answer.
  expect(answered(await scrape(served))).toBeGreaterThanOrEqual(count)
  expect(answered(await scrape(served))).toBeLessThan(count + 20)
  expect((await scrape(served)).series.get('millrace_lane_restarts_total{lane="0"}')).toBe(0)
  await served.idle()
})

const run = promisify(execFile)

test('a lane alone is replaced by the command and, without a terminal, by SIGHUP, under load', async () => {
  const served = await ServedProcess.start(repository, { ...env, MILLRACE_LANES: '1' })
  const client = served.client({ retries: 2 })
  const admin = ['--url', `http://127.0.0.1:${served.adminPort}`]
  /** The one that serves, when there is one. */
  const lane = async (not: number): Promise<number> => {
    await until('one lane serves, another one', () => {
      const lanes = served.lanes()
      return Promise.resolve((lanes.length === 1 && lanes[0] !== not) || lanes.join())
    })
    return served.lanes()[0]!
  }
  try {
    const load = traffic(random, client, client)
    const first = await lane(0)
    const { stdout } = await run(process.execPath, [millrace, 'restart', ...admin])
    const second = await lane(first)
    expect(stdout).toMatch(/^lane +process +started in +drained in\n/)
    expect(stdout.split('\n')[1]).toMatch(new RegExp(`^0 +${second} +\\d+ ms +\\d+ ms$`))

    process.kill(served.pid, 'SIGHUP')
    await until('it is under way', () => Promise.resolve(served.stderr().includes('SIGHUP: replacing') || 'not yet'))
    // One at a time, whoever asks.
    expect((await served.admin('/v1/restart', 'POST')).status).toBe(409)
    const third = await lane(second)
    await until('it says so', () =>
      Promise.resolve(
        new RegExp(`lane 0 is process ${third} now, after \\d+ ms`).test(served.stderr()) || served.stderr(),
      ),
    )
    const json = await run(process.execPath, [millrace, 'restart', ...admin, '--json'])
    expect(JSON.parse(json.stdout)).toMatchObject({ lanes: [{ lane: 0, pid: await lane(third) }] })
    expect(await load.stop()).toBeGreaterThan(0)
  } finally {
    await client.close()
    expect(await served.stop()).toBe(0)
  }
})

test('a lane whose successor is not ready goes on', async () => {
  const version = join(repository, 'workflows/price/1')
  mkdirSync(version, { recursive: true })
  const source = (before: string): string => `${before}
      import { column, defineWorkflow } from '@millrace/workflow'
      export default defineWorkflow({
        inputs: { x: column('f32') }, outputs: { y: column('f32') },
        postprocess: ({ inputs, outputs }) => outputs.y.set(inputs.x),
      })`
  writeFileSync(join(version, 'workflow.ts'), source(''))
  const served = await serve({ ...env, MILLRACE_LANES: '2', MILLRACE_REPOSITORY_POLL_MS: '0' }, repository)
  const before = await pids(served)
  writeFileSync(join(version, 'workflow.ts'), source("throw new Error('it was broken since')"))
  const load = traffic(random, served.client({ retries: 2 }))
  const { status, body } = await served.admin('POST', '/v1/restart')
  expect([status, JSON.parse(body.toString('utf8'))]).toEqual([
    400,
    {
      code: 'FAILED_PRECONDITION',
      message: expect.stringMatching(
        /^lane 0 was not replaced, it goes on: price@1 failed: .*it was broken since/,
      ) as string,
    },
  ])
  expect(await load.stop()).toBeGreaterThan(0)
  expect(await pids(served)).toEqual(before)
  expect(await served.json({ objective: 'price', inputs: { x: [1] } })).toMatchObject({ body: { code: 'OK' } })
  // And when it is well again, it is replaced.
  writeFileSync(join(version, 'workflow.ts'), source(''))
  const [again, twice] = await Promise.all([served.admin('POST', '/v1/restart'), served.admin('POST', '/v1/restart')])
  // Two connections: either may be the first.
  expect([again!.status, twice!.status].sort()).toEqual([200, 409])
  expect(await pids(served)).not.toEqual(before)
})

test('where two lanes cannot share the port, it is said, and a token is asked for', async () => {
  const served = await serve({ MILLRACE_TRANSPORT: 'node', MILLRACE_ADMIN_TOKEN: 'secret' }, repository)
  expect((await served.admin('POST', '/v1/restart')).status).toBe(401)
  const { body } = await http(served.server.adminPort, 'POST', '/v1/restart', '', { authorization: 'Bearer secret' })
  expect(JSON.parse(body.toString('utf8'))).toEqual({
    code: 'FAILED_PRECONDITION',
    message: 'without uWebSockets.js two lanes cannot share the port: restart the server',
  })
})

test.each(['uws', 'node'])(
  '%s: who drains says so to each that is connected, and answers what it has',
  async (transport) => {
    const served = await serve({ ...env, MILLRACE_TRANSPORT: transport, MILLRACE_DRAIN_MS: '30000' }, repository)
    const { port } = served.server
    const [idle, busy] = [await RawSocket.open(port), await RawSocket.open(port)]
    busy.send(message('slow', { ms: Float32Array.of(700) }, { id: 1n }))
    const overHttp = served.post('/v1/score', JSON.stringify({ objective: 'slow', inputs: { ms: [700] } }))
    await until('they are accepted', async () => {
      const { requestsInFlight } = await served.lane()
      return requestsInFlight === 2 || String(requestsInFlight)
    })
    const stopped = served.server.stop()
    await until('they are told', () => Promise.resolve((idle.pings.length > 0 && busy.pings.length > 0) || 'not yet'))
    expect([...idle.pings, ...busy.pings]).toEqual(['going away', 'going away'])
    busy.send(echoMessage(2n))
    const replies = (await busy.received(2)).map((one) => decodeReply(one as Buffer))
    expect(replies.map(({ id, code }) => [id, code])).toEqual([
      [2n, 'UNAVAILABLE'],
      [1n, 'OK'],
    ])
    expect(await overHttp).toMatchObject({
      status: 200,
      headers: { connection: expect.stringMatching(/close/i) as string },
    })
    expect([await idle.closed, await busy.closed]).toEqual([1001, 1001])
    await stopped
  },
)
