import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Client, ScoreError } from '@millrace/client'
import { crashCase, echoCase, imageCase, slowCase, type Case } from '../support/load-cases'
import { Load } from '../support/load'
import { message } from '../support/messages'
import { readMetrics } from '../support/metrics'
import { figuresOf } from '../support/process-figures'
import { Random } from '../support/random'
import { RawSocket } from '../support/raw-socket'
import { fixtures, http } from '../support/served'
import { ServedProcess } from '../support/served-process'
import { judge, verdictTable, type Sample } from './verdict'

/*
 * npm run soak -- [--seconds 1800] [--publish 5] [--kill 15] [--lane 300] [--restart 600] [--json FILE]
 *
 * Mixed load on a server of two lanes for half an hour, with publishes, threads and lanes that end, rolling restarts and
 * clients that come and go. Memory, descriptors and lost requests decide; times are shown. Exit 1 when it does not hold.
 * The other options are seconds between two of a kind, 0 for none.
 */

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: process.env['SOAK_SECONDS'] ?? '1800' },
    publish: { type: 'string', default: '5' },
    kill: { type: 'string', default: '15' },
    lane: { type: 'string', default: '300' },
    restart: { type: 'string', default: '600' },
    json: { type: 'string' },
  },
})
const seconds = Number(values.seconds)
const random = new Random()
const names = ['echo', 'crash', 'slow', 'image']

function next(): Case {
  const kind = random.next()
  if (kind < 0.6) return echoCase(random, random.whole(1, 20))
  if (kind < 0.8) return crashCase(random, random.next() < 0.9 ? 'none' : 'refuse', random.whole(1, 8))
  return kind < 0.98 ? slowCase(random, random.whole(1, 4), 1) : imageCase(random, 1)
}

async function main(): Promise<number> {
  const root = mkdtempSync(join(tmpdir(), 'millrace-soak-'))
  for (const name of names)
    cpSync(join(fixtures, 'workflows', name), join(root, 'workflows', name), { recursive: true })
  const served = await ServedProcess.start(root, {
    MILLRACE_LANES: '2',
    MILLRACE_TRANSPORT: 'uws',
    MILLRACE_POOL_CPU_THREADS: '2',
    MILLRACE_OVERSUBSCRIBE: 'yes',
    MILLRACE_LOG_LEVEL: 'fatal',
  })
  const load = new Load({ port: served.port, sockets: 6, inFlight: 4, next, lanes: () => served.lanes() })
  const client = new Client({ url: `http://127.0.0.1:${served.port}`, transport: 'http' })
  const samples: Sample[] = []
  const failures: string[] = []
  const killed: number[] = []
  const stopping = new AbortController()
  const wait = (ms: number): Promise<boolean> =>
    delay(ms, undefined, { signal: stopping.signal }).then(
      () => true,
      () => false,
    )
  const every = async (each: number, work: () => Promise<unknown>): Promise<void> => {
    if (each === 0) return
    while (await wait(each * 1000)) await work().catch((error: unknown) => failures.push((error as Error).message))
  }
  const post = async (path: string, body: unknown = {}): Promise<void> => {
    const answer = await http(served.adminPort, 'POST', path, JSON.stringify(body))
    if (answer.status !== 200) throw new Error(`${path}: ${answer.body.toString('utf8')}`)
  }
  let version = 0
  let asked = 0
  // One after the other: a lane that ends during a restart or a publish is its failure.
  let last: Promise<unknown> = Promise.resolve()
  const inTurn = (work: () => Promise<unknown>) => (): Promise<unknown> => (last = last.then(work, work))
  const events = [
    every(
      Number(values.publish),
      inTurn(() => {
        const objectives = Object.fromEntries(names.map((name) => [name, { default: `${name}@1` }]))
        return post('/v1/rules', { rules: { objectives }, note: `publish ${++version}` })
      }),
    ),
    every(Number(values.kill), async () => {
      const socket = await RawSocket.open(served.port)
      socket.send(message('crash', { how: 'exit', value: Int32Array.of(1) }))
      await socket.received(1).catch(() => undefined)
      await socket.close()
    }),
    every(
      Number(values.lane),
      inTurn(async () => {
        const pid = random.pick(served.lanes())
        killed.push(pid)
        process.kill(pid, 'SIGKILL')
        while ((await served.admin('/v2/health/ready')).status !== 200) await delay(100)
      }),
    ),
    every(
      Number(values.restart),
      inTurn(() => post('/v1/restart')),
    ),
    // By the client library, over HTTP: nothing of it may fail for long.
    every(0.02, async () => {
      const { inputs } = echoCase(random, 3)
      await client.score({ objective: 'echo', inputs, deadlineMs: 30_000 }).catch((error: unknown) => {
        if (!(error instanceof ScoreError && error.retryable)) throw error
      })
      asked++
    }),
    // Clients that come and go.
    every(1, async () => {
      for (let i = 0; i < 10; i++) (await RawSocket.open(served.port).catch(() => null))?.terminate()
    }),
    every(1, async () => {
      samples.push(await sample(served, load, samples.length))
      if (samples.length % 10 === 0) process.stderr.write(`${progress(samples.at(-1)!)}\n`)
    }),
  ]
  const begun = performance.now()
  while (performance.now() - begun < seconds * 1000 && failures.length === 0) await delay(200)
  stopping.abort()
  await Promise.all(events)
  await load.stop()
  await client.close()
  const ended = await served.stop()
  rmSync(root, { recursive: true })
  if (ended !== 0) failures.push(`the server ended with ${ended}`)
  const { sent, answered, wrong, losses: lost } = load
  const verdict = judge(samples, { sent, answered, wrong, lost, killed, failures, asked, publishes: version })
  process.stdout.write(`${verdictTable(verdict)}\n`)
  if (values.json !== undefined)
    writeFileSync(values.json, `${JSON.stringify({ seed: random.seed, seconds, ...verdict, samples }, null, 1)}\n`)
  return verdict.problems.length === 0 ? 0 : 1
}

async function sample(served: ServedProcess, load: Load, second: number): Promise<Sample> {
  const times = load.times.sort((a, b) => a - b)
  load.times = []
  const { series } = readMetrics((await served.admin('/metrics')).body.toString('utf8'))
  const delays = [...series].filter(([key]) => /^millrace_event_loop_delay_seconds\{.*quantile="0.99"/.test(key))
  return {
    second,
    ...figuresOf([served.pid, ...served.lanes()]),
    lanes: served.lanes().length,
    rate: load.rate(10),
    p99Ms: (times[Math.floor(times.length * 0.99)] ?? 0) / 1000,
    eventLoopMs: Math.max(0, ...delays.map(([, value]) => value * 1000)),
  }
}

function progress({ second, rssBytes, descriptors, rate, p99Ms, eventLoopMs }: Sample): string {
  const mib = Math.round(rssBytes / 2 ** 20)
  return `${String(second).padStart(5)} s  ${mib} MiB  ${descriptors} descriptors  ${Math.round(rate)}/s  p99 ${p99Ms.toFixed(1)} ms  event loop p99 ${eventLoopMs.toFixed(1)} ms`
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(error)
    process.exit(1)
  },
)
