import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Refusal, Strings } from '@millrace/base'
import { openLmdb, type FactEntries, type FactTable, type LmdbStore } from '@millrace/facts'
import { serve, stopServed, type Served } from '../support/served'
import { SmallDisk } from '../support/small-disk'

/* The disk of LMDB is full while it is written: whoever reads goes on, whoever writes is told, and nothing is half there. */

const table: FactTable = { name: 'prices', key: 'string', fields: [{ name: 'price', dtype: 'f64', shape: [] }] }
const mib = 2 ** 20

const disk = SmallDisk.mount(mib)
if (typeof disk === 'string')
  process.stderr.write(`skipped: a full disk; only who may mount has a small one: ${disk}\n`)
;(typeof disk === 'string' ? describe.skip : describe)('the disk of the facts is full', () => {
  const small = disk as SmallDisk
  const facts = join(typeof disk === 'string' ? '' : small.folder, 'facts')
  const repository = mkdtempSync(join(tmpdir(), 'millrace-full-'))
  let writer: LmdbStore
  let served: Served
  /** What was committed: every row has the price of its round. */
  let round = 0
  let rows = 0

  beforeAll(async () => {
    const version = join(repository, 'workflows/price/1')
    mkdirSync(version, { recursive: true })
    writeFileSync(
      join(version, 'workflow.js'),
      `const { column, defineWorkflow, fact, field } = require('@millrace/workflow')
       module.exports = defineWorkflow({
         inputs: { item: column('string') },
         outputs: { price: column('f64') },
         facts: { known: fact('prices', { by: 'item', fields: { price: field('f64') }, missing: { price: -1 } }) },
         postprocess: ({ facts, outputs }) => outputs.price.set(facts.known.price),
       })`,
    )
    writer = openLmdb(facts, { readOnly: false })
    await writer.declare(table)
    await write(0, 1)
    served = await serve({ MILLRACE_FACTS: facts, MILLRACE_POOL_CPU_THREADS: '1' }, repository)
  })
  afterAll(async () => {
    await stopServed()
    await writer.close()
    small.unmount()
    rmSync(repository, { recursive: true })
  })

  const entries = (price: number, count: number): FactEntries =>
    Array.from({ length: count }, (_, i) => [`item ${i}`, { price }] as const)
  /** All items anew, and more of them. */
  async function write(price: number, count: number): Promise<void> {
    await writer.write('prices', entries(price, count))
    round = price
    rows = count
  }
  /** Prices that the server answers: of the first item, of the last there is, and of one after it. */
  const answered = async (): Promise<unknown> => {
    const item = ['item 0', `item ${rows - 1}`, `item ${rows}`]
    const { body } = await served.json({ objective: 'price', inputs: { item } })
    return body
  }
  const asCommitted = (): unknown => expect.objectContaining({ code: 'OK', outputs: { price: [round, round, -1] } })
  const refusal = async (work: Promise<unknown>): Promise<string> => {
    const error: unknown = await work.then(
      () => 'it was written',
      (error: unknown) => error,
    )
    return error instanceof Refusal ? `${error.name}: ${error.message}` : String(error)
  }
  const told =
    /^RESOURCE_EXHAUSTED: the facts in .*: they could not be written, nothing of it is there: is the disk full/

  test('a write that finds no room is refused whole, while a server answers all the time', async () => {
    const enough = new AbortController()
    const answers = (async () => {
      let count = 0
      for (; !enough.signal.aborted; count++) {
        const { body } = await served.json({ objective: 'price', inputs: { item: ['item 0', 'item 0'] } })
        const { code, outputs } = body as { code: string; outputs: { price: number[] } }
        // One state or the next, for both.
        expect([code, outputs.price[0]]).toEqual(['OK', outputs.price[1]])
      }
      return count
    })()
    let said = 'it was written'
    for (let n = 1; said === 'it was written' && n < 100; n++) {
      said = await refusal(write(n, 1500 * n))
      await delay(1)
    }
    expect(said).toMatch(told)
    expect(round).toBeGreaterThan(1)
    expect(await answered()).toEqual(asCommitted())
    expect(await writer.count('prices')).toBe(rows)
    small.fill()
    expect(await refusal(write(1000, 100 * rows))).toMatch(told)
    expect(await answered()).toEqual(asCommitted())
    enough.abort()
    expect(await answers).toBeGreaterThan(1)
  })

  test('a table that is replaced there is the old one', async () => {
    const said = await refusal(
      (async () => {
        const next = await writer.replace(table)
        await next.write(entries(2000, 4 * rows))
        await next.commit()
      })(),
    )
    expect(said).toMatch(told)
    expect(await answered()).toEqual(asCommitted())
  })

  test('readers that come then read: the places of all are on the disk', () => {
    const lock = statSync(join(facts, 'lock.mdb'))
    expect(512 * lock.blocks).toBeGreaterThanOrEqual(lock.size)
    // More than have room in the first of its pages.
    if (process.env['TEST_FAULTS'] === 'all') {
      const readers = join(__dirname, '../support/lmdb-readers.js')
      const { status, signal, stdout } = spawnSync(process.execPath, [readers, facts, '70'], { encoding: 'utf8' })
      expect([status, signal, stdout]).toEqual([0, null, '70 read\n'])
    }
    const reader = openLmdb(facts, { readOnly: true })
    expect([...reader.read('prices', Strings.of(['item 0', 'nothing'])).found]).toEqual([1, 0])
    return reader.close()
  })

  test('with room again, the same writer writes, and the server has it with the next batch', async () => {
    small.resize(32 * mib)
    await write(3000, rows + 1)
    expect(await answered()).toEqual(asCommitted())
    await (await writer.replace(table)).abandon()
    expect(await writer.count('prices')).toBe(rows)
  })
})
