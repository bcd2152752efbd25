import { murmur3 } from '@millrace/base'
import fc from 'fast-check'
import { allocate, compileRules, explain, lookUp, objectiveHash, parseRules, type Rules, type Table } from './index'

const encoder = new TextEncoder()

/** A subject as it lies in a message: at some multiple of four, between other bytes. */
interface Placed {
  readonly words: Uint32Array | null
  readonly begin: number
  readonly length: number
}
function place(subject: string | null, wordsBefore = 0): Placed {
  if (subject === null) return { words: null, begin: 0, length: 0 }
  const bytes = encoder.encode(subject)
  const message = new Uint8Array(4 * wordsBefore + ((bytes.length + 7) & ~3)).fill(0xee)
  message.set(bytes, 4 * wordsBefore)
  return { words: new Uint32Array(message.buffer), begin: 4 * wordsBefore, length: bytes.length }
}

function ask(table: Table, objective: string, subject: Placed): number {
  const { lo, hi } = objectiveHash(objective)
  return lookUp(table, lo, hi, subject.words, subject.begin, subject.length)
}
function why(table: Table, objective: string, subject: Placed): ReturnType<typeof explain> {
  const { lo, hi } = objectiveHash(objective)
  return explain(table, lo, hi, subject.words, subject.begin, subject.length)
}

interface Decision {
  readonly rule: string
  readonly cell: string | null
  readonly workflow: string
}

/** The rules as the README tells them. */
function decide(rules: Rules, objective: string, subject: string | null): Decision | null {
  if (!Object.hasOwn(rules.objectives, objective)) return null
  for (const { id, salt, objectives, cells } of rules.experiments ?? []) {
    if (!objectives.includes(objective) || subject === null || subject === '') continue
    const hash = (text: string, seed: number): number => murmur3(encoder.encode(text), 0, Buffer.byteLength(text), seed)
    const h = hash(subject, hash(salt ?? id, 0))
    const total = cells.reduce((sum, cell) => sum + cell.weight, 0)
    for (let i = 0; i < cells.length; i++) {
      const upTo = cells.slice(0, i + 1).reduce((sum, cell) => sum + cell.weight, 0)
      if (h < Math.floor((upTo / total) * 2 ** 32))
        return { rule: id, cell: cells[i]!.name, workflow: cells[i]!.workflow }
    }
  }
  return { rule: 'default', cell: null, workflow: rules.objectives[objective]!.default }
}

const versions = ['price@1', 'price@2', 'title@7', 'a@b@12'].map((reference) => ({
  reference,
  name: reference.slice(0, reference.lastIndexOf('@')),
  version: Number(reference.slice(reference.lastIndexOf('@') + 1)),
}))
const workflow = fc.constantFrom(...versions.map((one) => one.reference))
const weight = fc.oneof(
  fc.nat(100),
  fc.constantFrom(0, 1e-9, 1, 1e9),
  fc.double({ min: 0, max: 1000, noNaN: true, noDefaultInfinity: true }),
)
const name = fc
  .oneof(
    fc.constantFrom('constructor', 'toString', '0', 'price', 'título'),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }),
  )
  .filter((name) => name !== '__proto__')
const cells = fc
  .uniqueArray(fc.record({ name, weight, workflow }), { selector: (cell) => cell.name, minLength: 1, maxLength: 6 })
  .filter((cells) => cells.some((cell) => cell.weight > 0))
const experiment = fc.record({ id: name, salt: fc.option(name, { nil: undefined }), cells })

const rulesArbitrary: fc.Arbitrary<Rules> = fc
  .record({
    objectives: fc.uniqueArray(fc.tuple(name, workflow, fc.nat(5)), { selector: ([name]) => name, maxLength: 40 }),
    experiments: fc.uniqueArray(experiment, { selector: (one) => one.id, maxLength: 4 }),
  })
  .map(({ objectives, experiments }) => ({
    objectives: Object.fromEntries(objectives.map(([name, workflow]) => [name, { default: workflow }])),
    // Each objective draws the experiment it is in, if any.
    experiments: experiments
      .map(({ salt, ...one }, e) => ({
        ...one,
        ...(salt === undefined ? {} : { salt }),
        objectives: objectives.filter(([, , drawn]) => drawn === e).map(([name]) => name),
      }))
      .filter((one) => one.objectives.length > 0 && one.id !== 'default'),
  }))
const subjectArbitrary = fc.option(fc.string({ unit: 'grapheme', maxLength: 20 }))

test('the table decides as the README says', () => {
  const seen = new Set<string>()
  fc.assert(
    fc.property(
      rulesArbitrary,
      fc.array(subjectArbitrary, { minLength: 1, maxLength: 8 }),
      fc.nat(5),
      name,
      (rules, subjects, wordsBefore, other) => {
        const table = compileRules(parseRules(rules), versions, 3)
        expect(table.version).toBe(3)
        for (const objective of [...Object.keys(rules.objectives), other]) {
          for (const subject of subjects) {
            const placed = place(subject, wordsBefore)
            const index = ask(table, objective, placed)
            const expected = decide(rules, objective, subject)
            if (expected === null) {
              seen.add('unknown')
              expect(index).toBe(-1)
              expect(why(table, objective, placed)).toEqual([])
              continue
            }
            const versionIndex = versions.findIndex((one) => one.reference === expected.workflow)
            const { name: workflow, version } = versions[versionIndex]!
            const { rule, cell } = expected
            expect(table.routes[index]).toEqual({ objective, workflow, version, versionIndex, rule, cell })
            seen.add(rule === 'default' ? 'default' : 'experiment')

            const explained = why(table, objective, placed)
            expect(explained.map((one) => one.rule)).toEqual(
              (rules.experiments ?? [])
                .filter((one) => one.objectives.includes(objective))
                .map((one) => one.id)
                .concat('default'),
            )
            const matched = explained.filter((one) => one.matched)
            expect(matched.map((one) => [one.rule, one.cell ?? null])).toEqual([[rule, cell]])
            expect(explained.every((one) => one.reason.length > 0)).toBe(true)
          }
        }
      },
    ),
    { seed: 1, numRuns: 300 },
  )
  expect([...seen].sort()).toEqual(['default', 'experiment', 'unknown'])
})

test('offline allocation is the cell of the table', () => {
  fc.assert(
    fc.property(cells, name, fc.string({ unit: 'grapheme', minLength: 1 }), (cells, salt, subject) => {
      const rules = {
        objectives: { price: { default: 'price@1' } },
        experiments: [{ id: 'e', salt, objectives: ['price'], cells }],
      }
      const table = compileRules(parseRules(rules), versions, 1)
      expect(table.routes[ask(table, 'price', place(subject))]!.cell).toBe(allocate(salt, subject, cells).name)
    }),
    { seed: 1 },
  )
})

test('ten thousand objectives are each found, others are not', () => {
  const names = Array.from({ length: 10_000 }, (_, i) => `objective-${i}`)
  const rules = { objectives: Object.fromEntries(names.map((name) => [name, { default: 'price@1' }])) }
  const table = compileRules(parseRules(rules), versions, 1)
  const nobody = place(null)
  expect(names.filter((name) => table.routes[ask(table, name, nobody)]?.objective !== name)).toEqual([])
  expect(names.filter((name) => ask(table, `${name}-`, nobody) !== -1)).toEqual([])
  // Half of a hash is not enough.
  const { lo, hi } = objectiveHash('objective-0')
  const other = (half: number): number => (half ^ 0x80000000) >>> 0
  expect(lookUp(table, lo, other(hi), null, 0, 0)).toBe(-1)
  expect(lookUp(table, other(lo), hi, null, 0, 0)).toBe(-1)
  expect(ask(compileRules({ objectives: {} }, [], 1), 'objective-0', nobody)).toBe(-1)
})

test('records of a later version are stepped over', () => {
  const rules = parseRules({
    objectives: { price: { default: 'price@1' } },
    experiments: [{ id: 'e', objectives: ['price'], cells: [{ name: 'all', weight: 1, workflow: 'price@2' }] }],
  })
  const table = compileRules(rules, versions, 1)
  const slots = table.program[0]! + 1
  const records = 1 + 3 * slots
  // [opcode 99, length 5, three words that look like a default rule of route 0]
  const unknown = [99, 5, 1, 3, 0]
  const program = Int32Array.of(...table.program.subarray(0, records), ...unknown, ...table.program.subarray(records))
  const later = { ...table, program }
  for (const subject of [null, 'account-1']) {
    const placed = place(subject)
    expect(ask(later, 'price', placed)).toBe(ask(table, 'price', placed))
    expect(why(later, 'price', placed)).toEqual(why(table, 'price', placed))
  }
  expect(table.routes[ask(later, 'price', place('account-1'))]!.cell).toBe('all')
})

test('a cell ends before the hash that is its end', () => {
  const hash = (text: string, seed: number): number => murmur3(encoder.encode(text), 0, text.length, seed)
  for (const subject of ['account-1', 'account-2', 'account-3']) {
    const h = hash(subject, hash('e', 0))
    for (const [end, cell] of [
      [h, 'after'],
      [h + 1, 'before'],
    ] as const) {
      const cells = [
        { name: 'before', weight: end, workflow: 'price@1' },
        { name: 'after', weight: 2 ** 32 - end, workflow: 'price@2' },
      ]
      const rules = {
        objectives: { price: { default: 'price@1' } },
        experiments: [{ id: 'e', objectives: ['price'], cells }],
      }
      const table = compileRules(parseRules(rules), versions, 1)
      expect(table.routes[ask(table, 'price', place(subject))]!.cell).toBe(cell)
      expect(allocate('e', subject, cells).name).toBe(cell)
    }
  }
})

test('a cell of weight 0 gets nobody', () => {
  const cells = ['none', 'all', 'nothing'].map((name) => ({
    name,
    weight: name === 'all' ? 1e-12 : 0,
    workflow: 'price@1',
  }))
  const rules = {
    objectives: { price: { default: 'title@7' } },
    experiments: [{ id: 'e', objectives: ['price'], cells }],
  }
  const table = compileRules(parseRules(rules), versions, 1)
  const met = new Set<string | null>()
  for (let i = 0; i < 2000; i++) met.add(table.routes[ask(table, 'price', place(`account-${i}`))]!.cell)
  expect([...met]).toEqual(['all'])
})

describe('allocation', () => {
  const weights = [10, 20, 30, 40]
  const arms = weights.map((weight, i) => ({ name: `${i}`, weight }))
  const subjects = Array.from({ length: 40_000 }, (_, i) => `account-${i}`)
  const arm = (salt: string, subject: string): number => Number(allocate(salt, subject, arms).name)

  /** Sum of squared deviations over what is expected. */
  const chiSquare = (counts: readonly number[], expected: readonly number[]): number =>
    counts.reduce((sum, count, i) => sum + (count - expected[i]!) ** 2 / expected[i]!, 0)

  // Bounds are the 99.9th percentiles for 3 and for 9 degrees of freedom.
  test.each(['price-model', 'a', 'layout 2'])('is as the weights say: salt %j', (salt) => {
    const counts = arms.map(() => 0)
    for (const subject of subjects) counts[arm(salt, subject)]!++
    const expected = weights.map((weight) => (weight / 100) * subjects.length)
    expect(chiSquare(counts, expected)).toBeLessThan(16.27)
  })

  test.each([
    ['price-model', 'title-model'],
    ['experiment-1', 'experiment-2'],
    ['a', 'b'],
  ])('of %j tells nothing about %j', (one, other) => {
    const counts = Array<number>(16).fill(0)
    for (const subject of subjects) counts[4 * arm(one, subject) + arm(other, subject)]!++
    const row = (i: number): number => counts.slice(4 * i, 4 * i + 4).reduce((sum, n) => sum + n, 0)
    const column = (j: number): number => counts.reduce((sum, n, k) => sum + (k % 4 === j ? n : 0), 0)
    const expected = counts.map((_, k) => (row(k >> 2) * column(k & 3)) / subjects.length)
    expect(chiSquare(counts, expected)).toBeLessThan(27.88)
  })

  test('is sticky: a cell that grows keeps its subjects', () => {
    const grown = [
      { name: 'new', weight: 30 },
      { name: 'old', weight: 70 },
    ]
    const small = [
      { name: 'new', weight: 10 },
      { name: 'old', weight: 90 },
    ]
    for (const subject of subjects.slice(0, 5000))
      if (allocate('canary', subject, small).name === 'new') expect(allocate('canary', subject, grown).name).toBe('new')
  })
})

describe('rules that do not hold are refused with their place', () => {
  const cell = (name: string, weight = 1): object => ({ name, weight, workflow: 'price@1' })
  const experiment = (fields: object): object => ({ id: 'e', objectives: ['price'], cells: [cell('a')], ...fields })
  const rules = (...experiments: object[]): object => ({ objectives: { price: { default: 'price@1' } }, experiments })
  test.each<[string, object, RegExp]>([
    ['no objective', rules(experiment({ objectives: ['cost'] })), /\$\.experiments\[0\]\.objectives\[0\].*cost/],
    [
      'twice',
      rules(experiment({}), experiment({ id: 'f' })),
      /\$\.experiments\[1\]\.objectives\[0\].*price.*e already/,
    ],
    ['same id', rules(experiment({}), experiment({ objectives: ['cost'] })), /\$\.experiments\[1\]\.id/],
    ['an id that is taken', rules(experiment({ id: 'default' })), /\$\.experiments\[0\]\.id/],
    ['same cell', rules(experiment({ cells: [cell('a'), cell('a')] })), /\$\.experiments\[0\]\.cells: a name/],
    ['no weight', rules(experiment({ cells: [cell('a', 0)] })), /\$\.experiments\[0\]\.cells: the weights/],
    ['negative weight', rules(experiment({ cells: [cell('a', -1)] })), /\$\.experiments\[0\]\.cells\[0\]\.weight/],
    ['no version', { objectives: { price: { default: 'price' } } }, /\$\.objectives\.price\.default/],
    ['a field that is not known', { ...rules(), shadows: [] }, /shadows/],
  ])('%s', (_, json, message) => {
    expect(() => parseRules(json)).toThrow(message)
  })
})
