import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { seededRandom, Strings } from '@millrace/base'
import { MemoryStore, openLmdb, type FactStore, type FactTable } from '@millrace/facts'
import { column, defineWorkflow, fact, field } from './index'

const folder = mkdtempSync(join(tmpdir(), 'derived-'))
afterAll(() => rmSync(folder, { recursive: true }))

const table: FactTable = {
  name: 't',
  key: 'string',
  fields: [
    { name: 'text', dtype: 'string', shape: [] },
    { name: 'pair', dtype: 'f32', shape: [2] },
  ],
}
const record = (key: number, generation: number) => ({ text: `${key} of ${generation}`, pair: [key, generation] })

let made = 0
const definition = (missing: 'refuse' | { text: string; pair: number[] }) =>
  defineWorkflow({
    inputs: { key: column('string') },
    outputs: { y: column('f32') },
    facts: {
      row: fact('t', {
        by: 'key',
        fields: { text: field('string'), pair: field('f32', { shape: [2] }) },
        missing,
        derive: {
          columns: { sum: field('f64'), twice: field('f32', { shape: [2] }), letters: field('i32') },
          fill: ({ text, pair }, into, rows) => {
            made += rows
            for (let row = 0; row < rows; row++) {
              into.sum[row] = pair[2 * row]! + pair[2 * row + 1]!
              into.twice[2 * row] = 2 * pair[2 * row]!
              into.twice[2 * row + 1] = 2 * pair[2 * row + 1]!
              into.letters[row] = text.at(row).length
            }
          },
        },
      }),
    },
    preprocess: () => undefined,
  })

/** The derived columns of some keys. */
async function derived(store: FactStore, workflow: ReturnType<typeof definition>, keys: readonly string[]) {
  const plan = workflow.facts[0]!
  const rows = await store.read('t', Strings.of(keys.map((key) => Buffer.from(key))))
  return { found: [...rows.found], columns: plan.columns.of(rows) }
}

test.each([
  ['memory', () => new MemoryStore()],
  ['lmdb', () => openLmdb(join(folder, 'a'), { readOnly: false })],
  ['lmdb that keeps little', () => openLmdb(join(folder, 'b'), { readOnly: false, cacheBytesMax: 10_000 })],
])('from %s they are as the fields of the moment', async (_, open) => {
  const random = seededRandom(5)
  const store = open()
  await store.declare(table)
  const workflow = definition({ text: '', pair: [0, 0] })
  const now = new Map<number, number>()
  for (let generation = 0; generation < 30; generation++) {
    const changed = Array.from({ length: 20 }, () => Math.floor(random() * 300))
    await store.write(
      't',
      changed.map((key) => [String(key), record(key, generation)] as const),
    )
    for (const key of changed) now.set(key, generation)
    for (let time = 0; time < 10; time++) {
      const known = [...now.keys()]
      const keys = Array.from({ length: 40 }, () => known[Math.floor(random() ** 2 * known.length)]!)
      const { columns } = await derived(store, workflow, keys.map(String))
      expect([...(columns['sum'] as Float64Array)]).toEqual(keys.map((key) => key + now.get(key)!))
      expect([...(columns['twice'] as Float32Array)]).toEqual(keys.flatMap((key) => [2 * key, 2 * now.get(key)!]))
      expect([...(columns['letters'] as Int32Array)]).toEqual(keys.map((key) => `${key} of ${now.get(key)}`.length))
    }
  }
  await store.close()
})

test('rows that a reader keeps are made once', async () => {
  const store = openLmdb(join(folder, 'c'), { readOnly: false })
  await store.declare(table)
  await store.write(
    't',
    Array.from({ length: 50 }, (_, key) => [String(key), record(key, 1)] as const),
  )
  const workflow = definition('refuse')
  const keys = Array.from({ length: 200 }, (_, i) => String(i % 50))
  made = 0
  for (let time = 0; time < 5; time++) await derived(store, workflow, keys)
  expect(made).toBe(50)
  await store.write('t', [['1', record(1, 2)]])
  const { columns } = await derived(store, workflow, ['1'])
  expect([...(columns['sum'] as Float64Array)]).toEqual([3])
  await store.close()
})

test('what a declaration may not say', () => {
  const options = { by: 'key' as const, fields: { text: field('string') }, missing: 'refuse' as const }
  const workflow = (columns: Record<string, ReturnType<typeof field>>) => () =>
    defineWorkflow({
      inputs: { key: column('string') },
      outputs: { y: column('f32') },
      facts: { row: fact('t', { ...options, derive: { columns: columns as never, fill: () => undefined } }) },
      preprocess: () => undefined,
    })
  expect(workflow({ text: field('f32') })).toThrow("facts.row.derive: 'text' is a field of the table already")
  expect(workflow({ words: field('string') })).toThrow('facts.row.derive.words: is string; derived columns are numbers')
})
