import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { repositoryFolder } from '@millrace/demo'
import { readMetrics, type MetricsPage } from '../support/metrics'
import { fixtures, http, serve, stopServed, until, type Served } from '../support/served'

/* The admin port: what operators and model owners are told. */

const folder = mkdtempSync(join(tmpdir(), 'admin-'))

afterAll(async () => {
  await stopServed()
  rmSync(folder, { recursive: true })
})

const families: Readonly<Record<string, string>> = {
  millrace_requests_total: 'counter',
  millrace_request_seconds: 'histogram',
  millrace_batch_rows: 'histogram',
  millrace_lanes: 'gauge',
  millrace_lane_up: 'gauge',
  millrace_lane_restarts_total: 'counter',
  millrace_lane_ready: 'gauge',
  millrace_queue_rows: 'gauge',
  millrace_requests_in_flight: 'gauge',
  millrace_arena_used_bytes: 'gauge',
  millrace_arena_bytes: 'gauge',
  millrace_slabs: 'gauge',
  millrace_unread_bytes: 'gauge',
  millrace_websockets: 'gauge',
  millrace_pool_threads: 'gauge',
  millrace_pool_batches: 'gauge',
  millrace_pool_thread_restarts_total: 'counter',
  millrace_event_loop_delay_seconds: 'gauge',
  millrace_lane_rss_bytes: 'gauge',
  millrace_workflow_version_ready: 'gauge',
}

describe('a server that is well', () => {
  let served: Served
  beforeAll(async () => {
    served = await serve()
  })
  const scrape = async (): Promise<MetricsPage> => {
    const { status, contentType, body } = await served.admin('GET', '/metrics')
    expect([status, contentType]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8'])
    return readMetrics(body.toString('utf8'))
  }

  test('delays of the event loop are those since the last scrape', async () => {
    const longest = (page: MetricsPage): number =>
      page.series.get('millrace_event_loop_delay_seconds{lane="0",quantile="1"}')!
    await scrape()
    const { pid } = await served.lane()
    process.kill(pid, 'SIGSTOP')
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    process.kill(pid, 'SIGCONT')
    await until('the delay is seen', async () => {
      const seconds = longest(await scrape())
      return seconds > 1 || String(seconds)
    })
    expect(longest(await scrape())).toBeLessThan(1)
    // Late, not how long it is from one look to the next, which is 10 ms.
    await until('it is looked at again and again, and hardly late', async () => {
      await new Promise((resolve) => setTimeout(resolve, 300))
      const mean = (await scrape()).series.get('millrace_event_loop_delay_seconds{lane="0",quantile="mean"}')!
      return mean < 0.01 || String(mean)
    })
  })

  test('metrics: every family is there, and counts are what was sent', async () => {
    const client = served.client()
    for (let i = 0; i < 20; i++)
      await client.score({ objective: 'crash', inputs: { how: 'none', value: new Int32Array(1 + (i % 8)) } })
    for (let i = 0; i < 3; i++)
      await client
        .score({ objective: 'crash', inputs: { how: 'refuse', value: Int32Array.of(1) } })
        .catch(() => undefined)
    await client.score({ objective: 'nothing of the kind', inputs: {} }).catch(() => undefined)
    await served.json('no request')
    await served.idle()

    const { series, types } = await scrape()
    for (const [name, type] of Object.entries(families)) expect([name, types.get(name)]).toEqual([name, type])
    const count = (labels: string): number | undefined => series.get(`millrace_requests_total{${labels}}`)
    expect(count('objective="crash",workflow="crash",version="1",rule="default",traffic="real",code="OK"')).toBe(20)
    expect(
      count('objective="crash",workflow="crash",version="1",rule="default",traffic="real",code="FAILED_PRECONDITION"'),
    ).toBe(3)
    expect(count('objective="",workflow="",version="0",rule="",traffic="real",code="NOT_FOUND"')).toBe(1)
    expect(count('objective="",workflow="",version="0",rule="",traffic="real",code="INVALID_ARGUMENT"')).toBe(1)
    for (const stage of ['total', 'queue', 'facts', 'score'])
      expect(series.get(`millrace_request_seconds_count{workflow="crash",version="1",stage="${stage}"}`)).toBe(23)
    // 1 to 8 rows, two and a half times, and three of one row.
    expect(series.get('millrace_batch_rows_sum{workflow="crash",version="1"}')).toBe(2 * 36 + 10 + 3)
    expect(series.get('millrace_lanes')).toBe(1)
    expect(series.get('millrace_lane_up{lane="0"}')).toBe(1)
    expect(series.get('millrace_slabs{lane="0"}')).toBe(0)
    expect(series.get('millrace_websockets{lane="0"}')).toBe(1)
    expect(series.get('millrace_workflow_version_ready{lane="0",workflow="echo",version="1"}')).toBe(1)
  })

  test('metrics: histograms grow from bucket to bucket, up to their count', async () => {
    const { series } = await scrape()
    const histograms = new Map<string, { bound: number; value: number }[]>()
    for (const [key, value] of series) {
      const bound = /\ble="([^"]+)",?/.exec(key)
      if (bound === null) continue
      const of = key.replace(bound[0], '')
      histograms.set(of, [
        ...(histograms.get(of) ?? []),
        { bound: Number(bound[1]!.replace('+Inf', 'Infinity')), value },
      ])
    }
    expect(histograms.size).toBeGreaterThan(5)
    for (const [key, buckets] of histograms) {
      const bounds = buckets.map(({ bound }) => bound)
      const values = buckets.map(({ value }) => value)
      expect([key, bounds]).toEqual([key, [...bounds].sort((a, b) => a - b)])
      expect([key, values]).toEqual([key, [...values].sort((a, b) => a - b)])
      expect(bounds.at(-1)).toBe(Infinity)
      expect([key, values.at(-1)]).toEqual([key, series.get(key.replace('_bucket', '_count'))])
    }
  })

  test('metrics: bounds are the numbers that people write', async () => {
    const bounds = [...(await scrape()).series.keys()].flatMap((key) => /\ble="([\d.e-]+)"/.exec(key)?.[1] ?? [])
    expect(bounds.length).toBeGreaterThan(10)
    expect(bounds.filter((bound) => bound.length > 8)).toEqual([])
  })

  test('health', async () => {
    expect(await jsonOf(served, 'GET', '/v2/health/live')).toEqual([200, { live: true }])
    expect(await jsonOf(served, 'GET', '/v2/health/ready')).toEqual([200, { ready: true }])
  })

  test('workflows: what each takes and gives', async () => {
    const [status, body] = await jsonOf(served, 'GET', '/v1/workflows')
    expect(status).toBe(200)
    const { workflows } = body as { workflows: { name: string; state: string }[] }
    expect(workflows.map(({ name }) => name)).toEqual(['crash', 'echo', 'image', 'mlp', 'slow'])
    expect(workflows.find(({ name }) => name === 'mlp')).toMatchObject({
      version: 1,
      state: 'ready',
      reason: null,
      signature: { inputs: [{ name: 'features', dtype: 'f32', shape: [64] }] },
      models: [{ name: 'model', format: 'onnx', engine: 'onnxruntime' }],
    })
    expect(workflows.find(({ name }) => name === 'echo')).toMatchObject({ golden: { passed: 2, failed: 0 } })
  })

  test('what there is not, and what is not said right', async () => {
    const [status, body] = await jsonOf(served, 'GET', '/nothing')
    expect([status, body]).toMatchObject([
      404,
      { code: 'NOT_FOUND', message: expect.stringContaining('GET /metrics') as string },
    ])
    expect((await jsonOf(served, 'POST', '/v1/explain', '{'))[0]).toBe(400)
    expect((await jsonOf(served, 'POST', '/v1/explain', '{'))[1]).toMatchObject({ code: 'INVALID_ARGUMENT' })
    const wrong = await jsonOf(served, 'POST', '/v1/explain', '{"objective": 1}')
    expect(wrong).toMatchObject([
      400,
      { code: 'INVALID_ARGUMENT', message: expect.stringMatching(/^objective: /) as string },
    ])
    const large = await jsonOf(served, 'POST', '/v1/explain', `"${'x'.repeat(2 ** 20)}"`)
    expect(large).toMatchObject([400, { code: 'INVALID_ARGUMENT' }])
    // The data port's paths are not here, and the other way round.
    expect((await jsonOf(served, 'POST', '/v1/score', '{}'))[0]).toBe(404)
    expect((await http(served.server.port, 'GET', '/metrics')).status).toBe(404)
  })
})

test('rules and why one of them decides', async () => {
  const served = await serve({}, repositoryFolder)
  const [status, rules] = await jsonOf(served, 'GET', '/v1/rules')
  expect([status, rules]).toMatchObject([200, { version: 1, experiments: [{ id: 'flight-delay-network' }] }])
  const explain = async (request: object) => (await jsonOf(served, 'POST', '/v1/explain', JSON.stringify(request)))[1]
  expect(await explain({ objective: 'flight-delay' })).toMatchObject({
    objective: 'flight-delay',
    subject: null,
    decision: { workflow: 'flight-delay', version: 1, rule: 'default', cell: null, ready: true },
    rules: [
      { rule: 'flight-delay-network', matched: false, reason: 'the request has no subject' },
      { rule: 'flight-delay-wider', matched: false, reason: 'the request has no subject' },
      { rule: 'default', matched: true },
      { rule: 'flight-delay-wider-beside', kind: 'shadow', matched: true },
    ],
  })
  expect(await explain({ objective: 'flight-delay', subject: 'account-42' })).toMatchObject({
    decision: { rule: 'flight-delay-network' },
    rules: [
      { matched: true },
      { rule: 'flight-delay-wider', matched: false },
      { rule: 'default', matched: false, reason: 'flight-delay-network decided before it' },
      { rule: 'flight-delay-wider-beside', kind: 'shadow', matched: true },
    ],
  })
  expect(await explain({ objective: 'no such' })).toMatchObject({ decision: null, rules: [] })
})

test('a version that is broken: not ready with the reason, the others serve', async () => {
  cpSync(join(fixtures, 'workflows', 'echo'), join(folder, 'workflows', 'echo'), { recursive: true })
  mkdirSync(join(folder, 'workflows', 'broken', '1'), { recursive: true })
  writeFileSync(join(folder, 'workflows', 'broken', '1', 'workflow.ts'), 'export default { inputs: {} }')
  const served = await serve({}, folder)
  const why = 'its default export is not made by defineWorkflow'
  const [status, ready] = await jsonOf(served, 'GET', '/v2/health/ready')
  expect([status, (ready as { ready: boolean }).ready]).toEqual([503, false])
  expect((ready as { reasons: string[] }).reasons).toEqual([expect.stringContaining(`broken@1 failed: `)])
  expect((ready as { reasons: string[] }).reasons[0]).toContain(why)
  expect((await jsonOf(served, 'GET', '/v2/health/live'))[0]).toBe(200)
  const [, { workflows }] = (await jsonOf(served, 'GET', '/v1/workflows')) as [
    number,
    { workflows: { state: string }[] },
  ]
  expect(workflows).toMatchObject([
    { name: 'broken', state: 'failed' },
    { name: 'echo', state: 'ready', reason: null },
  ])
  const inputs = { id: 1, tag: 't', key: [1], text: ['x'] }
  expect(await served.json({ objective: 'echo', inputs })).toMatchObject({ status: 200, body: { code: 'OK' } })
  expect(await served.json({ objective: 'broken', inputs: {} })).toMatchObject({
    status: 503,
    body: {
      code: 'UNAVAILABLE',
      message: expect.stringContaining('/v2/health/ready on its admin port say why') as string,
    },
  })
  const { series } = readMetrics((await served.admin('GET', '/metrics')).body.toString('utf8'))
  expect(series.get('millrace_lane_ready{lane="0"}')).toBe(0)
  expect(series.get('millrace_workflow_version_ready{lane="0",workflow="broken",version="1"}')).toBe(0)
})

async function jsonOf(served: Served, method: string, path: string, body?: string): Promise<[number, unknown]> {
  const answer = await served.admin(method, path, body)
  expect(answer.contentType).toBe('application/json')
  return [answer.status, JSON.parse(answer.body.toString('utf8'))]
}
