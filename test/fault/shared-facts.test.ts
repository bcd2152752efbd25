import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Refusal, Strings } from '@millrace/base'
import { openLmdb, openRedis, type FactTable, type RedisStore } from '@millrace/facts'
import { describeWith } from '../support/extras'
import { RedisServer } from '../support/redis'
import { serve, stopServed, until, type Served } from '../support/served'
import { SlowProxy } from '../support/slow-proxy'

const table: FactTable = { name: 'prices', key: 'string', fields: [{ name: 'price', dtype: 'f64', shape: [] }] }
const one = Strings.of(['a'])

/** `CODE: message` of what a promise is rejected with. */
async function no(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => new Error('it was good'),
    (error: unknown) => error,
  )
  return error instanceof Refusal ? `${error.name}: ${error.message}` : String(error)
}

/** A repository whose one workflow answers the price that the facts know, or what the declared `fact` says instead. */
function repository(fact = "missing: 'refuse'"): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-shared-'))
  const version = join(folder, 'workflows/price/1')
  mkdirSync(version, { recursive: true })
  writeFileSync(
    join(version, 'workflow.js'),
    `const { column, defineWorkflow, fact, field } = require('@millrace/workflow')
     module.exports = defineWorkflow({
       inputs: { item: column('string') },
       outputs: { price: column('f64') },
       facts: { known: fact('prices', { by: 'item', fields: { price: field('f64') }, ${fact} }) },
       postprocess: ({ facts, outputs }) => outputs.price.set(facts.known.price),
     })`,
  )
  return folder
}

const ask = async (served: Served): Promise<{ code: string; message?: string; outputs?: { price: number[] } }> =>
  (await served.json({ objective: 'price', inputs: { item: ['a', 'a'] } })).body as never

let folder: string
beforeEach(() => (folder = repository()))
afterEach(async () => {
  await stopServed()
  rmSync(folder, { recursive: true, force: true })
})

test('facts in LMDB change under a server: new values are answered, nobody is kept waiting or refused', async () => {
  const writer = openLmdb(join(folder, 'facts'), { readOnly: false })
  await writer.declare(table)
  await writer.write('prices', [['a', { price: 0 }]])
  const served = await serve({}, folder)
  const bulk = Array.from({ length: 5000 }, (_, i) => [`k${i}`, { price: i }] as const)
  for (let price = 1; price <= 20; price++) {
    await writer.write('prices', bulk)
    await writer.write('prices', [['a', { price }]])
    // It is committed: the next batch has it.
    expect(await ask(served)).toMatchObject({ code: 'OK', outputs: { price: [price, price] } })
  }
  const next = await writer.replace(table)
  await next.write([['a', { price: 100 }]])
  expect((await ask(served)).outputs?.price).toEqual([20, 20])
  await next.commit()
  expect((await ask(served)).outputs?.price).toEqual([100, 100])
  await writer.close()
})

describeWith('redis')('facts in Redis', () => {
  let redis: RedisServer
  let store: RedisStore
  const open = async (url = redis.url, timeoutMs = 300): Promise<RedisStore> => {
    store = openRedis(url, { readOnly: true, timeoutMs })
    await store.ready()
    return store
  }
  beforeEach(async () => {
    redis = await RedisServer.start()
    const writer = openRedis(redis.url, { readOnly: false })
    await writer.ready()
    await writer.declare(table)
    await writer.write('prices', [['a', { price: 1 }]])
    await writer.close()
  })
  afterEach(async () => {
    await store?.close()
    await redis.stop()
  })
  const answersAgain = (): Promise<void> =>
    until('the store answers again', async () => {
      try {
        return (await store.read('prices', one)).found[0] === 1 || 'it has no row'
      } catch (error) {
        return String(error)
      }
    })

  test('a server that ends during a read, and is started again', async () => {
    await open()
    redis.signal('SIGSTOP')
    const reads = Array.from({ length: 3 }, () => no(store.read('prices', one)))
    await delay(20)
    await redis.kill()
    for (const answer of await Promise.all(reads)) expect(answer).toMatch(/^UNAVAILABLE: .*cannot be reached/)
    expect(await no(store.read('prices', one))).toMatch(/^UNAVAILABLE: the fact store at 127\.0\.0\.1:\d+/)
    await redis.start()
    await answersAgain()
  })

  test('a server that stalls is waited for no longer than the limit, then not at all, until it goes on', async () => {
    await open()
    redis.signal('SIGSTOP')
    for (let i = 0; i < 5; i++)
      expect(await no(store.read('prices', one))).toMatch(/^DEADLINE_EXCEEDED: .* did not answer within 300 ms/)
    expect(store.breaker).toMatchObject({ state: 'open', opened: 1 })
    const refused = await Promise.all(Array.from({ length: 100 }, () => no(store.read('prices', one))))
    expect(new Set(refused).size).toBe(1)
    expect(refused[0]).toMatch(/^UNAVAILABLE: .*is not asked again yet \(.*within 300 ms\)/)
    expect(store.breaker.refused).toBe(100)
    redis.signal('SIGCONT')
    await answersAgain()
    expect(store.breaker.state).toBe('closed')
  })

  test('a password that is wrong, or missing, is said; it is not shown', async () => {
    const guarded = await RedisServer.start(['--requirepass', 'right-secret'])
    try {
      const wrong = await no(open(guarded.url.replace('redis://', 'redis://:wrong-secret@')))
      expect(wrong).toMatch(/^PERMISSION_DENIED: the fact store at 127\.0\.0\.1:\d+ does not take the user or password/)
      expect(wrong).not.toContain('secret')
      await store.close()
      expect(await no(open(guarded.url))).toMatch(/^PERMISSION_DENIED/)
      await store.close()
      const right = openRedis(guarded.url.replace('redis://', 'redis://:right-secret@'), { readOnly: true })
      await right.ready()
      await right.close()
    } finally {
      await guarded.stop()
    }
  })

  test('a table that is declared anew while it is read is read by its new declaration', async () => {
    await open()
    await store.read('prices', one)
    const writer = openRedis(redis.url, { readOnly: false })
    await writer.ready()
    await writer.declare({ ...table, fields: [{ name: 'cents', dtype: 'i32', shape: [] }] })
    await writer.write('prices', [['a', { cents: 7 }]])
    const rows = await store.read('prices', one)
    expect([...(rows.column('cents') as Int32Array)]).toEqual([7])
    await expect(store.write('prices', [])).rejects.toThrow('open for reading only')
    await writer.close()
  })

  test('writers at the same time do not undo each other', async () => {
    const writers = Array.from({ length: 4 }, () => openRedis(redis.url, { readOnly: false }))
    await Promise.all(writers.map((writer) => writer.ready()))
    const fields = (w: number): FactTable['fields'] => [{ name: `x${w}`, dtype: 'i32', shape: [] }]
    const name = (w: number): string => `table ${w}`
    await Promise.all(
      writers.map(async (writer, w) => {
        await writer.declare({ name: name(w), key: 'string', fields: fields(w) })
        // All declare this one, each in another way: a write meets its own declaration or none of it is there.
        await writer.declare({ name: 'shared', key: 'string', fields: fields(w) })
        await writer.write('shared', [['k', { [`x${w}`]: w }]]).catch((error: unknown) => {
          expect(String(error)).toMatch(/is missing|is not declared/)
        })
        await writer.write(name(w), [['k', { [`x${w}`]: w }]])
      }),
    )
    await open()
    expect(store.tables().map((one) => one.name)).toHaveLength(6)
    for (let w = 0; w < 4; w++)
      expect([...((await store.read(name(w), Strings.of(['k']))).column(`x${w}`) as Int32Array)]).toEqual([w])
    const shared = store.tables().find((one) => one.name === 'shared')!
    const rows = await store.read('shared', Strings.of(['k']))
    const field = shared.fields[0]!.name
    if (rows.found[0] === 1) expect(field).toBe(`x${(rows.column(field) as Int32Array)[0]}`)
    await Promise.all(writers.map((writer) => writer.close()))
  })

  test('a record that is too large is refused, and the store works on', async () => {
    const writer = openRedis(redis.url, { readOnly: false })
    await writer.ready()
    await writer.declare({ name: 't', key: 'string', fields: [{ name: 'x', dtype: 'bytes', shape: [] }] })
    const huge = writer.write('t', [['a', { x: Buffer.alloc(17 * 2 ** 20) }]])
    expect(await no(huge)).toMatch(/^INVALID_ARGUMENT: .*a record has \d+ bytes, the limit is 16777216/)
    expect(await writer.write('t', [['a', { x: Buffer.alloc(10) }]])).toBe(1)
    await writer.close()
  })

  test.each([
    ["missing: { price: -1 }, away: 'default'", { code: 'OK', outputs: { price: [-1, -1] } }],
    // A key of which nothing is known is none that is not there.
    ['missing: { price: -1 }', { code: expect.stringMatching(/^(DEADLINE_EXCEEDED|UNAVAILABLE)$/) as string }],
  ])('a store that is slower than its limit, %s', async (fact, late) => {
    const proxy = await SlowProxy.start(redis.port)
    const other = repository(fact)
    try {
      const facts = `redis://127.0.0.1:${proxy.port}`
      const served = await serve({ MILLRACE_FACTS: facts, MILLRACE_FACTS_TIMEOUT_MS: '500' }, other)
      const prices = async (): Promise<void> =>
        until('it answers what the store has', async () => {
          const answer = await ask(served)
          return (answer.code === 'OK' && answer.outputs!.price.join() === '1,1') || JSON.stringify(answer)
        })
      await prices()
      proxy.delayMs = 2000
      // Until the breaker opens, and after that.
      for (let i = 0; i < 8; i++) expect(await ask(served)).toMatchObject(late)
      proxy.delayMs = 0
      await prices()
    } finally {
      await stopServed()
      await proxy.close()
      rmSync(other, { recursive: true })
    }
  })

  test('a server serves from it, refuses with UNAVAILABLE while it is away, and serves when it is back', async () => {
    await open()
    const served = await serve({ MILLRACE_FACTS: redis.url }, folder)
    expect(await ask(served)).toMatchObject({ code: 'OK', outputs: { price: [1, 1] } })
    await redis.kill()
    const answer = await ask(served)
    expect(answer.code).toBe('UNAVAILABLE')
    expect(answer.message).toMatch(/the fact store at 127\.0\.0\.1:\d+/)
    await redis.start()
    await until('the server answers', async () => {
      const again = await ask(served)
      return again.code === 'OK' || JSON.stringify(again)
    })
    const writer = openRedis(redis.url, { readOnly: false })
    await writer.ready()
    await writer.write('prices', [['a', { price: 2 }]])
    await writer.close()
    expect((await ask(served)).outputs?.price).toEqual([2, 2])
  })
})
