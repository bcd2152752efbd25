import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { openLmdb, openRedis, type FactTable } from '@millrace/facts'
import { decodeReply } from '@millrace/wire'
import { describeWith } from '../support/extras'
import { costTable, underLoad, type Cost, type Fault, type Run } from '../support/fault-run'
import { crashCase, echoCase, slowCase, type Case } from '../support/load-cases'
import { message } from '../support/messages'
import { figuresOf, isRunning } from '../support/process-figures'
import { Random } from '../support/random'
import { RawSocket } from '../support/raw-socket'
import { RedisServer } from '../support/redis'
import { fixtures, http, until } from '../support/served'
import { ServedProcess } from '../support/served-process'
import { SlowProxy } from '../support/slow-proxy'

/*
 * Dead parts, while a server has all that it can do. Each request is accounted for: answered, or lost with the lane that
 * ended. `npm run faults` writes what each fault cost into README.md beside this file.
 */

/** Everyday tests have those alone that take a second or two. */
const whole = process.env['TEST_FAULTS'] === 'all'
const random = new Random()
/** Lanes start one after the other, on cores that others use as well. */
jest.setTimeout(240_000)
const root = mkdtempSync(join(tmpdir(), 'millrace-faults-'))
const repository = join(root, 'repository')
const logFile = join(root, 'log')
const costs: Cost[] = []
/** Forked lanes of a server that was killed, so that none is left behind by a test that fails. */
const orphans: number[] = []

const table: FactTable = { name: 'prices', key: 'string', fields: [{ name: 'price', dtype: 'f64', shape: [] }] }
const prices = Array.from({ length: 1000 }, (_, i) => [`item ${i}`, { price: i }] as const)

beforeAll(async () => {
  for (const name of ['echo', 'crash', 'slow'])
    cpSync(join(fixtures, 'workflows', name), join(repository, 'workflows', name), { recursive: true })
  const version = join(repository, 'workflows/price/1')
  mkdirSync(version, { recursive: true })
  writeFileSync(
    join(version, 'workflow.js'),
    `const { column, defineWorkflow, fact, field } = require('@millrace/workflow')
     module.exports = defineWorkflow({
       inputs: { item: column('string') },
       outputs: { price: column('f64') },
       facts: { known: fact('prices', { by: 'item', fields: { price: field('f64') }, missing: 'refuse' }) },
       postprocess: ({ facts, outputs }) => outputs.price.set(facts.known.price),
     })`,
  )
  const writer = openLmdb(join(repository, 'facts'), { readOnly: false })
  await writer.declare(table)
  await writer.write('prices', prices)
  await writer.close()
})

afterAll(() => {
  for (const pid of orphans) if (isRunning(pid)) process.kill(pid, 'SIGKILL')
  rmSync(root, { recursive: true })
  // A run that checks a change changes nothing.
  if (whole && process.env['CI'] === undefined) writeTable(join(__dirname, 'README.md'))
})

function priceCase(): Case {
  const item = Array.from({ length: random.whole(1, 5) }, () => random.whole(0, prices.length - 1))
  const names = item.map((i) => `item ${i}`)
  return {
    objective: 'price',
    inputs: { item: names },
    json: { item: names },
    expected: { code: 'OK', outputs: { price: item } },
  }
}

/** Half echo, a quarter facts, and some that take their time or are refused. */
function next(): Case {
  const kind = random.next()
  if (kind < 0.5) return echoCase(random, random.whole(1, 9))
  if (kind < 0.75) return priceCase()
  return kind < 0.95 ? slowCase(random, 1, 2) : crashCase(random, 'none', random.whole(1, 8))
}

const env = {
  MILLRACE_LANES: '2',
  MILLRACE_TRANSPORT: 'uws',
  MILLRACE_POOL_CPU_THREADS: '2',
  MILLRACE_OVERSUBSCRIBE: 'yes',
  MILLRACE_ARENA_BYTES: '32MiB',
  MILLRACE_LOG_LEVEL: 'warn',
}

/** Sends what ends a thread or its lane, and resolves when its connection has said something. */
async function crash({ served }: Run, how: string): Promise<void> {
  const socket = await RawSocket.open(served.port)
  socket.send(message('crash', { how, value: Int32Array.of(1) }))
  await Promise.race([socket.received(1).catch(() => undefined), socket.closed])
  socket.terminate()
}

/** Those of the lanes that run no more. */
async function gone({ lanes }: Run, count: number): Promise<number[]> {
  await until('lanes ended', () =>
    Promise.resolve(lanes.filter((pid) => !isRunning(pid)).length === count || 'not yet'),
  )
  return lanes.filter((pid) => !isRunning(pid))
}

/** Sets a limit of processes that run; `unlimited` or a number. */
function limit(pids: readonly number[], resource: string, soft: number | 'unlimited'): void {
  for (const pid of pids) execFileSync('prlimit', ['--pid', String(pid), `--${resource}=${soft}:`])
}
const all = ({ served, lanes }: Run): number[] => [served.pid, ...lanes]

const publish = async (
  { served }: Run,
  note: string,
  ramp?: readonly object[],
): Promise<{ code?: string; message?: string; version?: number }> => {
  const names = ['echo', 'crash', 'slow', 'price']
  const rules = {
    objectives: {
      ...Object.fromEntries(names.map((name) => [name, { default: `${name}@1` }])),
      ramped: { default: 'price@1' },
    },
    ...(ramp === undefined ? {} : { canaries: [{ id: 'ramp', objectives: ['ramped'], workflow: 'price@1', ramp }] }),
  }
  const { body } = await served.admin('/v1/rules', 'POST', JSON.stringify({ rules, note }))
  return JSON.parse(body.toString('utf8')) as never
}

const held: Socket[] = []
const data = join(repository, 'facts', 'data.mdb')
const clock = join(root, 'clock')

/** Lanes start anew, or a thousand clients do: for `npm run faults`. */
interface Timed extends Fault {
  readonly long?: boolean
}

const faults: Timed[] = [
  {
    name: 'a thread of a pool ends (`process.exit` in user code)',
    codes: ['UNAVAILABLE'],
    inject: (run) => crash(run, 'exit'),
  },
  {
    name: 'a lane crashes (SIGABRT in a thread, as in native code)',
    long: true,
    inject: async (run) => {
      await crash(run, 'abort')
      return gone(run, 1)
    },
  },
  {
    name: 'a lane is killed (SIGKILL)',
    inject: (run) => {
      process.kill(run.lanes[0]!, 'SIGKILL')
      return gone(run, 1)
    },
  },
  {
    name: '1,000 clients vanish at once, each with a request in flight',
    long: true,
    inject: async ({ served }) => {
      const request = message('slow', { ms: Float32Array.of(1) }, { deadlineUs: 60_000_000 })
      const crowd = spawn(process.execPath, [join(__dirname, '../support/crowd.js'), String(served.port), '1000'], {
        stdio: ['pipe', 'pipe', 'inherit'],
      })
      crowd.stdin.end(Buffer.from(request).toString('base64'))
      await once(crowd.stdout, 'data')
      crowd.kill('SIGKILL')
      await once(crowd, 'exit')
    },
  },
  {
    name: 'file descriptors of the lanes are exhausted (EMFILE), and a thread ends meanwhile',
    codes: ['UNAVAILABLE'],
    inject: async (run) => {
      for (const pid of run.lanes) limit([pid], 'nofile', figuresOf([pid]).descriptors + 4)
      for (let i = 0; i < 64; i++) held.push(connect(run.served.port, '127.0.0.1').on('error', () => undefined))
      await delay(100)
      await Promise.race([crash(run, 'exit'), delay(300)])
    },
    heal: (run) => {
      limit(run.lanes, 'nofile', 4096)
      for (const socket of held.splice(0)) socket.destroy()
      return Promise.resolve()
    },
  },
  {
    name: 'the disk of the state folder is full: a publish is refused, then taken',
    inject: async (run) => {
      limit([run.served.pid], 'fsize', 0)
      const refused = await publish(run, 'while it is full')
      expect(refused).toMatchObject({ code: 'FAILED_PRECONDITION' })
      expect(refused.message).toContain('the rules cannot be kept (MILLRACE_STATE_FOLDER)')
    },
    heal: async (run) => {
      limit([run.served.pid], 'fsize', 'unlimited')
      expect((await publish(run, 'when it is not')).version).toBeGreaterThan(1)
    },
  },
  {
    name: 'the disk of the log is full',
    codes: ['INTERNAL'],
    inject: async (run) => {
      limit(all(run), 'fsize', statSync(logFile).size)
      for (let i = 0; i < 20; i++) await crash(run, 'throw')
    },
    heal: async (run) => {
      limit(all(run), 'fsize', 'unlimited')
      const size = statSync(logFile).size
      await until('it logs again', async () => {
        await crash(run, 'throw')
        return statSync(logFile).size > size || 'nothing is logged'
      })
    },
  },
  {
    name: 'LMDB is locked by a writer that stands still',
    inject: async () => {
      // Another process: it takes the lock, and is stopped with it.
      const writer = spawn(
        process.execPath,
        [join(__dirname, '../support/stuck-writer.js'), join(repository, 'facts')],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      )
      await once(writer.stdout, 'data')
      writer.kill('SIGSTOP')
      await delay(300)
      writer.kill('SIGKILL')
      await once(writer, 'exit')
    },
    // The lock of a writer that is gone is free.
    heal: async () => {
      const writer = openLmdb(join(repository, 'facts'), { readOnly: false })
      await writer.write('prices', prices.slice(0, 10))
      await writer.close()
    },
  },
  {
    name: 'every lane is replaced (`millrace restart`)',
    long: true,
    codes: ['UNAVAILABLE'],
    drains: true,
    inject: async (run) => {
      expect((await run.served.admin('/v1/restart', 'POST')).status).toBe(200)
      return run.lanes
    },
  },
]

describe('a server of two lanes', () => {
  let served: ServedProcess
  let log: number
  beforeAll(async () => {
    log = openSync(logFile, 'a')
    served = await ServedProcess.start(repository, env, log)
  })
  afterAll(async () => {
    expect(await served.stop()).toBe(0)
    closeSync(log)
  })

  const some = faults.filter(({ long }) => whole || long !== true)
  test.each(some.map((fault) => [fault.name, fault] as const))(
    '%s',
    async (_, fault) => void costs.push(await underLoad(served, fault, next)),
  )
})

const day = 86_400_000
/** A step at each second of a minute from `atMs` on: lanes look at the clock when one comes. */
const steps = (atMs: number, percent: number): object[] =>
  Array.from({ length: 60 }, (_, s) => ({ at: new Date(atMs + 1000 * (s + 1)).toISOString(), percent }))

/** What decides for whom the canary ramps. */
async function ramped({ served }: Run): Promise<string> {
  const request = { objective: 'ramped', subject: 'somebody', inputs: { item: ['item 1'] } }
  const headers = { 'content-type': 'application/json' }
  const { body } = await http(served.port, 'POST', '/v1/score', JSON.stringify(request), headers)
  return (JSON.parse(body.toString('utf8')) as { rule?: string }).rule ?? body.toString('utf8')
}

/** Sets the clock while two requests wait; the one whose time is over by the time that passes is told so, no other. */
async function jump({ served }: Run, byMs: number): Promise<void> {
  const socket = await RawSocket.open(served.port)
  const ms = Float32Array.of(1500)
  socket.send(message('slow', { ms }, { id: 1n, deadlineUs: 60_000_000 }))
  socket.send(message('slow', { ms }, { id: 2n, deadlineUs: 600_000 }))
  await delay(200)
  writeFileSync(clock, String(byMs))
  const replies = (await socket.received(2)).map((one) => decodeReply(one as Buffer))
  expect(replies.map(({ id, code }) => [id, code])).toEqual([
    [2n, 'DEADLINE_EXCEEDED'],
    [1n, 'OK'],
  ])
  await socket.close()
}

/** Starts a server in the place of one that is gone. */
const again = async (run: Run): Promise<void> => {
  run.served = await ServedProcess.start(repository, { ...env, MILLRACE_PORT: String(run.served.port) })
}

/** Each has a server of its own: it ends, or all of its lanes do. */
const ends: (Fault & { readonly env?: Readonly<Record<string, string>> })[] = [
  {
    name: 'the supervisor is killed (SIGKILL): its lanes answer what they have and end; another is started',
    codes: ['UNAVAILABLE'],
    drains: true,
    inject: async (run) => {
      orphans.push(...run.lanes)
      process.kill(run.served.pid, 'SIGKILL')
      const ended = await gone(run, 2)
      await again(run)
      return ended
    },
  },
  {
    name: 'the server is stopped (SIGTERM); another is started',
    codes: ['UNAVAILABLE'],
    drains: true,
    inject: async (run) => {
      expect(await run.served.stop()).toBe(0)
      await again(run)
      return run.lanes
    },
  },
  {
    name: 'the wall clock jumps a day forward, then two back',
    env: { NODE_OPTIONS: `--require ${join(__dirname, '../support/shifted-clock.js')}`, SHIFTED_CLOCK: clock },
    // Ramps follow the clock, whichever way it goes: it is what their times are written in. Deadlines do not.
    inject: async (run) => {
      const nowMs = Date.now()
      await publish(run, 'a ramp', [...steps(nowMs, 0), ...steps(nowMs + day, 100)])
      expect(await ramped(run)).toBe('default')
      await jump(run, day)
      await until('the ramp is where it is a day later', () => ramped(run).then((rule) => rule === 'ramp' || rule))
    },
    heal: async (run) => {
      await jump(run, -day)
      await until('the ramp has not begun', () => ramped(run).then((rule) => rule === 'default' || rule))
    },
  },
  {
    name: 'the file of LMDB is cut to nothing while it is mapped, then put back',
    codes: ['UNAVAILABLE', 'INTERNAL', 'NOT_FOUND'],
    inject: async (run) => {
      cpSync(data, `${data}.kept`)
      truncateSync(data)
      await delay(500)
      return run.lanes
    },
    heal: () => Promise.resolve(cpSync(`${data}.kept`, data)),
  },
]

if (!whole)
  process.stderr.write('skipped: faults that take long or have servers of their own; npm run faults has them\n')
;(whole ? describe : describe.skip)('a server of its own', () => {
  let served: ServedProcess | undefined
  afterEach(() => served?.stop())

  test.each(ends.map((fault) => [fault.name, fault] as const))('%s', async (_, fault) => {
    writeFileSync(clock, '0')
    let run: Run | undefined
    const inject = (one: Run): ReturnType<Fault['inject']> => fault.inject((run = one))
    served = await ServedProcess.start(repository, { ...env, ...fault.env })
    try {
      costs.push(await underLoad(served, { ...fault, inject }, next))
    } finally {
      served = run?.served ?? served
    }
  })
})
;(whole ? describeWith('redis') : describe.skip)('facts in Redis', () => {
  let redis: RedisServer
  let proxy: SlowProxy
  let served: ServedProcess
  beforeAll(async () => {
    redis = await RedisServer.start()
    proxy = await SlowProxy.start(redis.port)
    const writer = openRedis(redis.url, { readOnly: false })
    await writer.ready()
    await writer.declare(table)
    await writer.write('prices', prices)
    await writer.close()
    served = await ServedProcess.start(repository, {
      ...env,
      MILLRACE_FACTS: `redis://127.0.0.1:${proxy.port}`,
      MILLRACE_FACTS_TIMEOUT_MS: '400',
    })
  })
  afterAll(async () => {
    await served.stop()
    await proxy.close()
    await redis.stop()
  })
  const slow = (delayMs: number) => (): Promise<void> => {
    proxy.delayMs = delayMs
    return delay(1000)
  }

  test.each([
    ['the fact store is slow, within its limit (10 ms each way)', 10, []],
    ['the fact store is slower than its limit (1 s each way)', 1000, ['UNAVAILABLE', 'DEADLINE_EXCEEDED']],
  ] as const)('%s', async (name, delayMs, codes) => {
    const fault: Fault = { name, codes, inject: slow(delayMs), heal: slow(0) }
    costs.push(await underLoad(served, fault, next))
  })
})

/** Between the marks of a file; the lines around them stay. */
function writeTable(file: string): void {
  const [begin, end] = ['<!-- faults -->', '<!-- /faults -->']
  const text = readFileSync(file, 'utf8')
  const [head, tail] = [text.split(begin)[0]!, text.split(end)[1] ?? '\n']
  writeFileSync(file, `${head}${begin}\n\n${costTable(costs)}\n\n${end}${tail}`)
}
