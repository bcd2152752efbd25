import { fork, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { Redis } from 'ioredis'
import { describeWith } from '../support/extras'
import { RedisServer } from '../support/redis'
import { seededRandom, Strings, type DenseArray } from '@millrace/base'
import {
  checkTable,
  keyBytesMax,
  MemoryStore,
  openFacts,
  openLmdb,
  openRedis,
  type FactRecord,
  type FactRows,
  type FactStore,
  type FactTable,
} from '@millrace/facts'

/*
 * What every store of facts promises. A new store joins by a line in `stores`.
 */

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-facts-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

let redis: RedisServer
afterAll(() => redis?.stop())

/** An empty one each time. */
async function openOnRedis(): Promise<FactStore> {
  redis ??= await RedisServer.start()
  const admin = new Redis(redis.url)
  await admin.flushall()
  admin.disconnect()
  return openRedis(redis.url, { readOnly: false, timeoutMs: 1000 })
}

const stores: readonly { readonly name: string; readonly suite: jest.Describe; open(): Promise<FactStore> }[] = [
  { name: 'memory', suite: describe, open: () => Promise.resolve(new MemoryStore()) },
  { name: 'lmdb', suite: describe, open: () => Promise.resolve(openLmdb(folder, { readOnly: false })) },
  { name: 'redis', suite: describeWith('redis'), open: openOnRedis },
]

const titles: FactTable = {
  name: 'titles',
  key: 'string',
  fields: [
    { name: 'name', dtype: 'string', shape: [] },
    { name: 'year', dtype: 'u16', shape: [] },
    { name: 'rating', dtype: 'f32', shape: [] },
    { name: 'genres', dtype: 'f32', shape: [3] },
    { name: 'poster', dtype: 'bytes', shape: [] },
  ],
}
const seven: FactRecord = {
  name: 'Seven',
  year: 1995,
  rating: 8.5,
  genres: [1, 0, 0.5],
  poster: Uint8Array.of(7, 0, 255),
}
const heat: FactRecord = {
  name: 'Heat ',
  year: 1995,
  rating: NaN,
  genres: Float32Array.of(0, 1, 0),
  poster: new Uint8Array(0),
}

const accounts: FactTable = { name: 'accounts', key: 'u64', fields: [{ name: 'age', dtype: 'i32', shape: [] }] }

function dense(rows: FactRows, field: string): (number | bigint)[] {
  return [...(rows.column(field) as DenseArray)]
}
function text(rows: FactRows, field: string): string[] {
  return (rows.column(field) as Strings).toArray()
}

for (const { name, suite, open } of stores) {
  suite(name, () => {
    let store: FactStore
    beforeEach(async () => {
      store = await open()
      await store.ready()
    })
    afterEach(() => store.close())

    const read = async (table: string, keys: readonly string[]): Promise<FactRows> =>
      store.read(table, Strings.of(keys))

    test('what was written is read, column by column, in the order of the keys', async () => {
      await store.declare(titles)
      expect(
        await store.write('titles', [
          ['tt1', seven],
          ['tt2', heat],
        ]),
      ).toBe(2)
      const rows = await read('titles', ['tt2', 'tt1', 'tt2'])
      expect(rows.rows).toBe(3)
      expect([...rows.found]).toEqual([1, 1, 1])
      expect(text(rows, 'name')).toEqual(['Heat ', 'Seven', 'Heat '])
      expect(dense(rows, 'year')).toEqual([1995, 1995, 1995])
      expect(dense(rows, 'rating')).toEqual([NaN, 8.5, NaN])
      expect(dense(rows, 'genres')).toEqual([0, 1, 0, 1, 0, 0.5, 0, 1, 0])
      expect([...(rows.column('poster') as Strings).bytes(1)]).toEqual([7, 0, 255])
      expect((rows.column('poster') as Strings).bytes(0).length).toBe(0)
    })

    test('rows that are not there are zero, empty and marked', async () => {
      await store.declare(titles)
      await store.write('titles', [['tt1', seven]])
      const rows = await read('titles', ['tt0', 'tt1', 'tt'])
      expect([...rows.found]).toEqual([0, 1, 0])
      expect(dense(rows, 'rating')).toEqual([0, 8.5, 0])
      expect(text(rows, 'name')).toEqual(['', 'Seven', ''])
    })

    test('no keys, no rows', async () => {
      await store.declare(titles)
      const rows = await read('titles', [])
      expect(rows.rows).toBe(0)
      expect(rows.found.length).toBe(0)
      expect(dense(rows, 'genres')).toEqual([])
      expect(text(rows, 'name')).toEqual([])
    })

    test('two results live side by side', async () => {
      await store.declare(titles)
      await store.write('titles', [
        ['tt1', seven],
        ['tt2', heat],
      ])
      const first = await read('titles', ['tt1'])
      const second = await read('titles', ['tt2'])
      expect([text(first, 'name'), text(second, 'name')]).toEqual([['Seven'], ['Heat ']])
      expect([dense(first, 'rating'), dense(second, 'rating')]).toEqual([[8.5], [NaN]])
    })

    test.each<[FactTable['fields'][number]['dtype'], readonly (number | bigint)[]]>([
      ['f32', [-0.5, 3.4028234663852886e38, Infinity, NaN]],
      ['f64', [-0.1, 5e-324, -Infinity, NaN]],
      ['i8', [-128, 127]],
      ['u8', [0, 255]],
      ['i16', [-32768, 32767]],
      ['u16', [0, 65535]],
      ['i32', [-(2 ** 31), 2 ** 31 - 1]],
      ['u32', [0, 2 ** 32 - 1]],
      ['i64', [-(2n ** 63n), 2n ** 63n - 1n]],
      ['u64', [0n, 2n ** 64n - 1n]],
      ['bool', [0, 1]],
    ])('%s keeps its extremes', async (dtype, values) => {
      await store.declare({
        name: 't',
        key: 'string',
        fields: [
          { name: 'pad', dtype: 'u8', shape: [] },
          { name: 'x', dtype, shape: [] },
        ],
      })
      await store.write(
        't',
        values.map((x, i) => [String(i), { pad: 9, x }] as const),
      )
      const rows = await read(
        't',
        values.map((_, i) => String(i)),
      )
      expect(dense(rows, 'x')).toEqual(values)
      expect(dense(rows, 'pad')).toEqual(values.map(() => 9))
    })

    test.each<[string, FactRecord[string], RegExp]>([
      ['u8', 256, /`x` is u8, not the number 256/],
      ['u8', 1.5, /`x` is u8, not the number 1.5/],
      ['i32', NaN, /`x` is i32, not the number NaN/],
      ['u64', -1n, /`x` is u64, not the bigint -1/],
      ['f32', '8.5', /`x` is f32, not the text "8.5"/],
      ['bool', 2, /`x` is bool, not the number 2/],
      ['string', 5, /`x` is string, not the number 5/],
      ['f32', [1, 2], /`x` is f32, not 2 values/],
    ])('%s refuses %p', async (dtype, x, message) => {
      await store.declare({ name: 't', key: 'string', fields: [{ name: 'x', dtype: dtype as 'f32', shape: [] }] })
      await expect(store.write('t', [['k', { x }]])).rejects.toThrow(message)
      await expect(store.write('t', [['k', { x }]])).rejects.toThrow(/table `t`, key "k"/)
    })

    test('a missing, an unknown and a misshapen field are named', async () => {
      await store.declare(titles)
      const { year: _, ...yearless } = seven
      await expect(store.write('titles', [['tt1', yearless]])).rejects.toThrow(
        /`titles`, key "tt1": field `year` is missing/,
      )
      await expect(store.write('titles', [['tt1', { ...seven, yaer: 1 }]])).rejects.toThrow(
        /field `yaer` is not declared/,
      )
      await expect(store.write('titles', [['tt1', { ...seven, genres: [1, 2] }]])).rejects.toThrow(
        /`genres` has shape \[3\] \(3 values\), not 2 values/,
      )
      await expect(
        store.write('titles', [['tt1', { ...seven, genres: [1, 2, 'x'] as unknown as number[] }]]),
      ).rejects.toThrow(/`genres` is f32, not the text "x" \(value 2\)/)
    })

    test('a write with one wrong row writes nothing, and the store works on', async () => {
      await store.declare(titles)
      await expect(
        store.write('titles', [
          ['tt1', seven],
          ['tt2', { ...heat, year: -1 }],
        ]),
      ).rejects.toThrow(/tt2/)
      expect([...(await read('titles', ['tt1', 'tt2'])).found]).toEqual([0, 0])
      await store.write('titles', [['tt2', heat]])
      expect([...(await read('titles', ['tt1', 'tt2'])).found]).toEqual([0, 1])
    })

    test('a row written again is replaced', async () => {
      await store.declare(titles)
      await store.write('titles', [['tt1', seven]])
      await store.write('titles', [['tt1', { ...seven, name: 'Se7en, and a longer name', rating: 8.6 }]])
      const rows = await read('titles', ['tt1'])
      expect(text(rows, 'name')).toEqual(['Se7en, and a longer name'])
      expect((rows.column('rating') as Float32Array)[0]).toBeCloseTo(8.6, 6)
    })

    test('any text is a key: empty, unicode, with zero bytes, one that begins another', async () => {
      const keys = ['', 'a', 'ab', 'a\0', 'ж', '映画', '🎬', 'é', 'e\u0301', 'titles', ' ']
      await store.declare({ name: 't', key: 'string', fields: [{ name: 'x', dtype: 'i32', shape: [] }] })
      await store.write(
        't',
        keys.map((key, x) => [key, { x }] as const),
      )
      const rows = await read('t', [...keys].reverse())
      expect([...rows.found]).toEqual(keys.map(() => 1))
      expect(dense(rows, 'x')).toEqual(keys.map((_, x) => x).reverse())
    })

    test('a key at the limit works, one above is refused with the limit named, and is just not found', async () => {
      await store.declare({ name: 't', key: 'string', fields: [{ name: 'x', dtype: 'i32', shape: [] }] })
      const [fits, long, huge] = ['k'.repeat(keyBytesMax), 'k'.repeat(keyBytesMax + 1), 'k'.repeat(1_000_000)]
      await store.write('t', [[fits!, { x: 5 }]])
      await expect(store.write('t', [[long!, { x: 6 }]])).rejects.toThrow(
        `${keyBytesMax + 1} bytes, the limit is ${keyBytesMax}`,
      )
      await expect(store.write('t', [['ж'.repeat(1000), { x: 6 }]])).rejects.toThrow('2000 bytes')
      const rows = await read('t', [long!, fits!, huge!])
      expect([...rows.found]).toEqual([0, 1, 0])
      expect(dense(rows, 'x')).toEqual([0, 5, 0])
    })

    test('u64 keys, to the largest, from shared memory at any offset', async () => {
      await store.declare(accounts)
      const ids = [0n, 1n, 256n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n]
      await store.write(
        'accounts',
        ids.map((id, age) => [id, { age }] as const),
      )
      const keys = new BigUint64Array(new SharedArrayBuffer(80), 16, 7)
      keys.set([...ids].reverse())
      keys[6] = 2n
      const rows = await store.read('accounts', keys)
      expect([...rows.found]).toEqual([1, 1, 1, 1, 1, 1, 0])
      expect(dense(rows, 'age')).toEqual([5, 4, 3, 2, 1, 0, 0])
    })

    test('keys of the other kind are refused, reading and writing', async () => {
      await store.declare(accounts)
      await store.declare(titles)
      await expect(read('accounts', ['1'])).rejects.toThrow(
        'fact table `accounts` has u64 keys, it was asked with string keys',
      )
      await expect((async () => store.read('titles', BigUint64Array.of(1n)))()).rejects.toThrow(
        /`titles` has string keys/,
      )
      await expect(store.write('accounts', [['1', { age: 1 }]])).rejects.toThrow(/u64 keys.*not "1"/)
      await expect(store.write('accounts', [[-1n, { age: 1 }]])).rejects.toThrow(/not -1/)
      await expect(store.write('titles', [[1n, seven]])).rejects.toThrow(/string keys, not the bigint 1/)
    })

    test('a table that is not there is named with those that are', async () => {
      await expect(read('titels', ['tt1'])).rejects.toThrow('there is no fact table `titels`; the store is empty')
      await store.declare(titles)
      await store.declare(accounts)
      await expect(read('titels', ['tt1'])).rejects.toThrow(
        'there is no fact table `titels`; there are accounts, titles',
      )
      await expect(store.write('titels', [['tt1', seven]])).rejects.toThrow('there are accounts, titles')
    })

    test('tables do not see each other', async () => {
      const field = { name: 'x', dtype: 'i32', shape: [] } as const
      for (const table of ['a', 'b']) await store.declare({ name: table, key: 'string', fields: [field] })
      await store.write('a', [['k', { x: 1 }]])
      await store.write('b', [
        ['k', { x: 2 }],
        ['only b', { x: 3 }],
      ])
      expect(dense(await read('a', ['k', 'only b']), 'x')).toEqual([1, 0])
      expect(dense(await read('b', ['k', 'only b']), 'x')).toEqual([2, 3])
    })

    test('declaring the same again keeps the rows, declaring another drops them, of this table only', async () => {
      await store.declare(titles)
      await store.declare(accounts)
      await store.write('titles', [['tt1', seven]])
      await store.write('accounts', [[1n, { age: 30 }]])
      await store.declare({ ...titles, fields: titles.fields.map((field) => ({ ...field })) })
      expect([...(await read('titles', ['tt1'])).found]).toEqual([1])
      const smaller = { ...titles, fields: titles.fields.slice(0, 2) }
      await store.declare(smaller)
      const rows = await read('titles', ['tt1'])
      expect([...rows.found]).toEqual([0])
      expect([text(rows, 'name'), dense(rows, 'year')]).toEqual([[''], [0]])
      expect(() => rows.column('rating')).toThrow('fact table `titles` has no field `rating`')
      expect(dense(await store.read('accounts', BigUint64Array.of(1n)), 'age')).toEqual([30])
      expect([...store.tables()].sort((a, b) => a.name.localeCompare(b.name))).toEqual([accounts, smaller])
    })

    test.each<[Partial<FactTable>, RegExp]>([
      [{ name: '' }, /needs a name/],
      [{ fields: [] }, /declares no fields/],
      [{ fields: [titles.fields[0]!, titles.fields[0]!] }, /`name` is declared twice/],
      [{ fields: [{ name: 'x', dtype: 'f32', shape: [0] }] }, /`x` has shape \[0\]/],
      [{ fields: [{ name: 'x', dtype: 'string', shape: [2] }] }, /`x` is string and cannot have a shape/],
    ])('a declaration that makes no sense is refused: %j', async (part, message) => {
      await expect(store.declare({ ...titles, ...part })).rejects.toThrow(message)
      expect(store.tables()).toEqual([])
    })

    test('checkTable names every difference to what a reader wants', async () => {
      await store.declare(titles)
      expect(checkTable(store, { ...titles, fields: titles.fields.slice(2, 4) })).toEqual(titles)
      const wanted: FactTable = {
        name: 'titles',
        key: 'u64',
        fields: [
          { name: 'genres', dtype: 'f32', shape: [4] },
          { name: 'rating', dtype: 'f64', shape: [] },
          { name: 'length', dtype: 'u16', shape: [] },
        ],
      }
      expect(() => checkTable(store, wanted)).toThrow(
        'fact table `titles`: its keys are string, not u64; field `genres` is f32[3], not f32[4]; ' +
          'field `rating` is f32, not f64; it has no field `length` (it has name, year, rating, genres, poster)',
      )
      expect(() => checkTable(store, { ...wanted, name: 'movies' })).toThrow(
        'there is no fact table `movies`; there are titles',
      )
    })

    test('thousands of rows of random text come back as they were', async () => {
      const random = seededRandom(5)
      const word = (): string => 'aж映🎬'.charAt(Math.floor(random() * 3)).repeat(Math.floor(random() * 300))
      const records = Array.from({ length: 3000 }, (_, i): [string, FactRecord] => [
        `key ${i}`,
        { name: word(), year: i, rating: random(), genres: [i, random(), -i], poster: Buffer.from(word()) },
      ])
      await store.declare(titles)
      await store.write('titles', records)
      const order = records.map((_, i) => i).sort(() => random() - 0.5)
      const rows = await read(
        'titles',
        order.map((i) => records[i]![0]),
      )
      expect(text(rows, 'name')).toEqual(order.map((i) => records[i]![1]['name']))
      expect(dense(rows, 'year')).toEqual(order)
      expect(text(rows, 'poster')).toEqual(order.map((i) => String(records[i]![1]['poster'])))
    })

    test('a key that comes often in one read, and again in the next, is the same row each time', async () => {
      await store.declare(titles)
      await store.write('titles', [
        ['tt1', seven],
        ['tt2', heat],
      ])
      const keys = Array.from({ length: 700 }, (_, i) => `tt${i % 3}`)
      for (let time = 0; time < 2; time++) {
        const rows = await read('titles', keys)
        expect([...rows.found]).toEqual(keys.map((key) => Number(key !== 'tt0')))
        expect(text(rows, 'name')).toEqual(keys.map((key) => ({ tt0: '', tt1: 'Seven', tt2: 'Heat ' })[key]))
        expect(dense(rows, 'year')).toEqual(keys.map((key) => (key === 'tt0' ? 0 : 1995)))
      }
      await store.write('titles', [['tt0', { ...heat, name: 'Ronin', year: 1998 }]])
      const rows = await read('titles', keys.slice(0, 3))
      expect(text(rows, 'name')).toEqual(['Ronin', 'Seven', 'Heat '])
      expect(dense(rows, 'year')).toEqual([1998, 1995, 1995])
    })

    test('keys that differ in a byte, or in zeros at their end, are told apart wherever they lie in memory', async () => {
      const numbers: FactTable = { name: 'n', key: 'string', fields: [{ name: 'n', dtype: 'i32', shape: [] }] }
      await store.declare(numbers)
      const keys = Array.from({ length: 14 }, (_, length) => 'a'.repeat(length)).flatMap((key) => [
        key,
        ...[...key].map((_, i) => `${key.slice(0, i)}b${key.slice(i + 1)}`),
        `${key}\0`,
      ])
      const distinct = [...new Set(keys)]
      await store.write(
        'n',
        distinct.map((key, n) => [key, { n }] as const),
      )
      for (const lead of [0, 1, 2, 3, 5]) {
        const bytes = Buffer.from(`${'-'.repeat(lead)}${distinct.join('')}`)
        const heap = Buffer.from(new SharedArrayBuffer(bytes.length) as unknown as ArrayBuffer)
        heap.set(bytes)
        const spans = new Uint32Array(2 * distinct.length)
        let begin = lead
        distinct.forEach((key, i) => (spans.set([begin, key.length], 2 * i), (begin += key.length)))
        const rows = await store.read('n', new Strings(spans, heap, distinct.length))
        expect(dense(rows, 'n')).toEqual(distinct.map((_, n) => n))
      }
    })

    test('a result stays as it was while others are read and the table changes', async () => {
      await store.declare(titles)
      await store.write('titles', [['tt1', seven]])
      const first = await read('titles', ['tt1'])
      await store.write('titles', [['tt1', { ...seven, name: 'Other', rating: 1 }]])
      await read('titles', ['tt1', 'tt2'])
      expect([text(first, 'name'), dense(first, 'rating')]).toEqual([['Seven'], [8.5]])
    })

    test('rows and their number can be looked through', async () => {
      await store.declare(titles)
      await store.declare(accounts)
      expect(await store.count('titles')).toBe(0)
      await store.write('titles', [
        ['tt1', seven],
        ['tt2', heat],
      ])
      await store.write('accounts', [[2n ** 63n, { age: 30 }]])
      expect(await store.count('titles')).toBe(2)
      const seen = new Map<unknown, unknown>()
      await store.scan('titles', (key, row) => seen.set(key, text(row, 'name')[0]) instanceof Map)
      expect([...seen].sort()).toEqual([
        ['tt1', 'Seven'],
        ['tt2', 'Heat '],
      ])
      await store.scan('accounts', (key, row) => seen.set(key, dense(row, 'age')[0]) instanceof Map)
      expect(seen.get(2n ** 63n)).toBe(30)
      let rows = 0
      await store.scan('titles', () => ++rows < 1)
      expect(rows).toBe(1)
    })

    test('a table is replaced at once, when all of it is there', async () => {
      await store.declare(titles)
      await store.write('titles', [
        ['tt1', seven],
        ['tt2', heat],
      ])
      const smaller: FactTable = { name: 'titles', key: 'string', fields: [{ name: 'x', dtype: 'u8', shape: [] }] }
      const next = await store.replace(smaller)
      expect(await next.write([['tt1', { x: 1 }]])).toBe(1)
      await next.write([['tt3', { x: 3 }]])
      expect(text(await read('titles', ['tt1', 'tt3']), 'name')).toEqual(['Seven', ''])
      await expect(next.write([['tt4', { x: 256 }]])).rejects.toThrow(/`x` is u8/)
      await next.commit()
      const rows = await read('titles', ['tt1', 'tt2', 'tt3'])
      expect(() => rows.column('name')).toThrow('has no field `name`')
      expect([...rows.found]).toEqual([1, 0, 1])
      expect(dense(rows, 'x')).toEqual([1, 0, 3])
      expect(await store.count('titles')).toBe(2)
      expect(store.tables()).toEqual([smaller])
    })

    test('a replacement that is abandoned, or overtaken by another, changes nothing', async () => {
      await store.declare(titles)
      await store.write('titles', [['tt1', seven]])
      const abandoned = await store.replace(titles)
      await abandoned.write([['tt9', heat]])
      await abandoned.abandon()
      const overtaken = await store.replace(titles)
      await overtaken.write([['tt8', heat]])
      const last = await store.replace(titles)
      await last.write([['tt7', heat]])
      await expect(overtaken.write([['tt8', heat]])).rejects.toThrow('another load of it has begun')
      await expect(overtaken.commit()).rejects.toThrow('another load of it has begun')
      expect([...(await read('titles', ['tt1', 'tt7', 'tt8', 'tt9'])).found]).toEqual([1, 0, 0, 0])
      await last.commit()
      expect([...(await read('titles', ['tt1', 'tt7', 'tt8', 'tt9'])).found]).toEqual([0, 1, 0, 0])
    })
  })
}

describe('what a reader keeps of lmdb', () => {
  const table: FactTable = {
    name: 't',
    key: 'u64',
    fields: [
      { name: 'x', dtype: 'f64', shape: [] },
      { name: 'small', dtype: 'u8', shape: [3] },
      { name: 'name', dtype: 'string', shape: [] },
    ],
  }
  const record = (key: bigint, generation: number): FactRecord => ({
    x: Number(key) + generation / 10,
    small: [Number(key) & 255, generation & 255, 7],
    name: `row ${key} of ${generation}`,
  })

  test.each([0, 20_000, 16 * 2 ** 20])('is what the table has, with a budget of %i bytes', async (cacheBytesMax) => {
    const random = seededRandom(11)
    const writer = openLmdb(folder, { readOnly: false })
    await writer.declare(table)
    const reader = openLmdb(folder, { readOnly: true, cacheBytesMax })
    const state = new Map<bigint, FactRecord>()
    for (let generation = 0; generation < 60; generation++) {
      const changed = Array.from({ length: 40 }, () => BigInt(Math.floor(random() * 1000)))
      const rows = changed.map((key) => [key, record(key, generation)] as const)
      await writer.write('t', rows)
      for (const [key, row] of rows) state.set(key, row)
      for (let time = 0; time < 3; time++) {
        const keys = BigUint64Array.from({ length: 300 }, () => BigInt(Math.floor(1000 * random() ** 2)))
        const read = reader.read('t', keys)
        const expected = [...keys].map((key) => state.get(key))
        expect([...read.found]).toEqual(expected.map((row) => Number(row !== undefined)))
        expect(dense(read, 'x')).toEqual(expected.map((row) => row?.['x'] ?? 0))
        expect(dense(read, 'small')).toEqual(
          expected.flatMap((row) => (row?.['small'] as number[] | undefined) ?? [0, 0, 0]),
        )
        expect(text(read, 'name')).toEqual(expected.map((row) => row?.['name'] ?? ''))
      }
    }
    await reader.close()
    await writer.close()
  })

  test('is right through keys that never come twice, and after them', async () => {
    const writer = openLmdb(folder, { readOnly: false })
    await writer.declare(table)
    const rows = Array.from({ length: 5_000 }, (_, key) => [BigInt(key), record(BigInt(key), 1)] as const)
    await writer.write('t', rows)
    const reader = openLmdb(folder, { readOnly: true, cacheBytesMax: 20_000 })
    const check = (keys: readonly number[], generation: number): void => {
      const read = reader.read('t', BigUint64Array.from(keys, BigInt))
      expect(dense(read, 'x')).toEqual(keys.map((key) => key + generation / 10))
      expect(text(read, 'name')).toEqual(keys.map((key) => `row ${key} of ${generation}`))
    }
    // Keeping rows is given up for a thousand reads, and tried again.
    for (let read = 0, key = 0; read < 2_500; read++)
      check(
        Array.from({ length: 8 }, () => (key = (key + 13) % 5_000)),
        1,
      )
    for (let read = 0; read < 50; read++) check([1, 2, 3, read], 1)
    await writer.write(
      't',
      [1n, 2n, 3n].map((key) => [key, record(key, 2)] as const),
    )
    check([1, 2, 3], 2)
    await reader.close()
    await writer.close()
  })

  test('is not a row that could not be read', async () => {
    const writer = openLmdb(folder, { readOnly: false })
    await writer.declare(table)
    await writer.write('t', [[1n, record(1n, 1)]])
    // Its key is the table's number and its own, biggest byte first.
    const key = {
      length: 8,
      writeTo(target: Uint8Array, start: number) {
        target.set([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1], start)
        return start + 12
      },
    }
    const { db } = writer as unknown as { db: { putSync(key: unknown, value: Buffer): void } }
    db.putSync(key, Buffer.of(1, 2))
    const reader = openLmdb(folder, { readOnly: true })
    for (let time = 0; time < 2; time++)
      expect(() => reader.read('t', BigUint64Array.of(1n))).toThrow('has a damaged record')
    await reader.close()
    await writer.close()
  })
})

describe('lmdb that cannot be opened or written', () => {
  const cause = (work: () => unknown): string => {
    try {
      work()
    } catch (error) {
      return `${(error as Error).name}: ${(error as Error).message}`
    }
    return 'nothing'
  }

  test.each([
    ['is empty', ''],
    ['is something else', 'no facts '.repeat(2000)],
  ])('a data file that %s is named, not mapped', (_, content) => {
    writeFileSync(join(folder, 'data.mdb'), content)
    expect(cause(() => openLmdb(folder, { readOnly: true }))).toMatch(/^DATA_LOSS: .*data\.mdb is no LMDB data file/)
  })

  test('a path that is a file, or leads through one', () => {
    writeFileSync(join(folder, 'file'), 'x')
    expect(cause(() => openLmdb(join(folder, 'file'), { readOnly: false }))).toMatch(/INVALID_ARGUMENT.*not a folder/)
    expect(cause(() => openLmdb(join(folder, 'file', 'facts'), { readOnly: false }))).toMatch(/not a folder/)
  })

  test('what does not fit on the disk undoes the write, and the rest is read', () => {
    const script = `
      const { openLmdb } = require('@millrace/facts')
      const { Strings } = require('@millrace/base')
      const store = openLmdb(process.argv[1], { readOnly: false })
      const table = { name: 't', key: 'string', fields: [{ name: 'x', dtype: 'f32', shape: [256] }] }
      const rows = (from, n) => Array.from({ length: n }, (_, i) => ['k' + (from + i), { x: new Float32Array(256) }])
      ;(async () => {
        await store.declare(table)
        await store.write('t', rows(0, 10))
        const error = await store.write('t', rows(0, 20000)).catch((error) => error)
        const found = store.read('t', Strings.of(['k1', 'k11'])).found
        console.log(JSON.stringify({ name: error.name, message: error.message, found: [...found] }))
      })()`
    // A limit of the file's size, in blocks of 1024 bytes, is met as a full disk is.
    const run = spawnSync('bash', ['-c', 'ulimit -f 4000; exec node -e "$0" "$1"', script, folder], { cwd: __dirname })
    const answer = JSON.parse(run.stdout.toString()) as { name: string; message: string; found: number[] }
    expect(answer.name).toBe('RESOURCE_EXHAUSTED')
    expect(answer.message).toMatch(/disk full/)
    expect(answer.found).toEqual([1, 0])
  })
})

describe('lmdb between readers and writers', () => {
  const table: FactTable = { name: 't', key: 'string', fields: [{ name: 'generation', dtype: 'i32', shape: [] }] }
  const keys = Array.from({ length: 50 }, (_, i) => `k${i}`)
  const fill = (generation: number) => keys.map((key) => [key, { generation }] as const)

  test('facts stay when the store is closed and opened again', async () => {
    const writer = openLmdb(folder, { readOnly: false })
    await writer.declare(titles)
    await writer.write('titles', [['tt1', seven]])
    await writer.close()
    const reader = openLmdb(folder, { readOnly: true })
    expect(reader.tables()).toEqual([titles])
    expect(text(reader.read('titles', Strings.of(['tt1'])), 'name')).toEqual(['Seven'])
    await reader.close()
  })

  test('a reader that is open sees what is written and declared later', async () => {
    const writer = openLmdb(folder, { readOnly: false })
    await writer.declare(table)
    const reader = openLmdb(folder, { readOnly: true })
    const one = Strings.of(['k1'])
    expect([...reader.read('t', one).found]).toEqual([0])
    await writer.write('t', fill(1))
    expect(dense(reader.read('t', one), 'generation')).toEqual([1])
    await writer.declare({ ...table, fields: [...table.fields, { name: 'more', dtype: 'u8', shape: [] }] })
    expect(dense(reader.read('t', one), 'more')).toEqual([0])
    expect([...reader.read('t', one).found]).toEqual([0])
    expect(reader.tables().map(({ name }) => name)).toEqual(['t'])
    await writer.declare(accounts)
    expect(
      reader
        .tables()
        .map(({ name }) => name)
        .sort(),
    ).toEqual(['accounts', 't'])
    await reader.close()
    await writer.close()
  })

  test('two writers do not undo each other', async () => {
    const [first, second] = [openLmdb(folder, { readOnly: false }), openLmdb(folder, { readOnly: false })]
    await first.declare(table)
    await second.declare({ ...table, name: 'u' })
    await first.declare({ ...table, name: 'v' })
    await second.write('t', fill(1))
    await first.write('u', fill(2))
    await second.write('v', fill(3))
    for (const store of [first, second])
      for (const [i, name] of ['t', 'u', 'v'].entries())
        expect(dense(store.read(name, Strings.of(['k3'])), 'generation')).toEqual([i + 1])
    await first.close()
    await second.close()
  })

  test('what is replaced gives its place back', async () => {
    const writer = openLmdb(folder, { readOnly: false })
    const bytesAfter = async (times: number): Promise<number> => {
      for (let i = 0; i < times; i++) {
        await writer.declare({ ...table, fields: [...table.fields, { name: `v${i % 2}`, dtype: 'f32', shape: [64] }] })
        const row = { generation: i, [`v${i % 2}`]: new Float32Array(64) }
        await writer.write(
          't',
          Array.from({ length: 500 }, (_, k) => [`k${k}`, row] as const),
        )
      }
      return statSync(join(folder, 'data.mdb')).size
    }
    const few = await bytesAfter(4)
    expect(await bytesAfter(24)).toBeLessThan(2 * few)
    await writer.close()
  })

  test('a reader refuses to write, and a folder without facts', async () => {
    expect(() => openLmdb(folder, { readOnly: true })).toThrow(`there are no facts in ${folder}`)
    await openLmdb(folder, { readOnly: false }).close()
    const reader = openLmdb(folder, { readOnly: true })
    await expect(reader.declare(table)).rejects.toThrow('open for reading only')
    await expect(reader.write('t', fill(1))).rejects.toThrow('open for reading only')
    await reader.close()
  })

  for (const beside of ['thread', 'process'] as const) {
    test(`a reader in another ${beside} sees each write whole or not at all`, async () => {
      const writer = openLmdb(folder, { readOnly: false })
      await writer.declare(table)
      await writer.write('t', fill(0))
      const reader = startReader(beside, { path: folder, table: 't', keys })
      await reader.ready
      for (let generation = 1; generation <= 100; generation++) {
        await writer.write('t', fill(generation))
        // Some declarations among the writes: the table is then empty for a moment.
        if (generation % 10 === 0) {
          await writer.declare({
            ...table,
            fields: [...table.fields, { name: `v${generation}`, dtype: 'u8', shape: [] }],
          })
          await writer.declare(table)
        }
        await new Promise(setImmediate)
      }
      const states = await reader.stop()
      await writer.close()
      expect(states.length).toBeGreaterThan(1)
      expect(states.filter((state) => (JSON.parse(state) as number[]).length > 1)).toEqual([])
    })
  }
})

interface Reader {
  readonly ready: Promise<void>
  stop(): Promise<string[]>
}

function startReader(beside: 'thread' | 'process', data: object): Reader {
  const script = join(__dirname, 'support/facts-reader.js')
  const worker = beside === 'thread' ? new Worker(script, { workerData: data }) : fork(script, [JSON.stringify(data)])
  const emitter: NodeJS.EventEmitter = worker
  const next = <T>(): Promise<T> =>
    new Promise((resolve, reject) => {
      emitter.once('message', resolve)
      emitter.once('error', reject)
      emitter.once('exit', (code: number) => reject(new Error(`the reader ended with ${code}`)))
    })
  return {
    ready: next<string>().then(() => undefined),
    async stop() {
      const answer = next<string[]>()
      if (worker instanceof Worker) worker.postMessage('stop')
      else worker.send('stop')
      const states = await answer
      if (worker instanceof Worker) await worker.terminate()
      else worker.kill()
      return states
    },
  }
}

test('openFacts goes by the scheme, and says what is not there yet', async () => {
  expect(openFacts('memory:', { readOnly: false })).toBeInstanceOf(MemoryStore)
  const store = openFacts(`lmdb:${folder}`, { readOnly: false })
  await store.declare(accounts)
  await store.close()
  const again = openFacts(folder, { readOnly: true })
  expect(again.tables()).toEqual([accounts])
  await again.close()
  expect(() => openFacts('mysql://localhost', { readOnly: true })).toThrow(/mysql: are not in this release/)
})
