import { isDeepStrictEqual } from 'node:util'
import { RandomRules, versions } from '../test/random-rules'
import {
  advance,
  allocate,
  bucketOf,
  compileRules,
  explain,
  lookUp,
  lookUpEnrichments,
  lookUpShadows,
  NoCell,
  NoRoute,
  objectiveHash,
  parseRules,
  PlainAsker,
  shadowsOf,
  type PlainAsk,
  type Table,
} from './index'

const seed = Number(process.env['TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
/** `TEST_CASES=1e6` in CI, more on demand. */
const cases = Number(process.env['TEST_CASES'] ?? 100_000)
const casesOfRules = 500
const asker = new PlainAsker()
const into = new Int32Array(16)

function indexOf(table: Table, { objective, subject, context, override, cellOf }: PlainAsk): number {
  const asked = asker.set(objective, subject, context, override)
  return cellOf === undefined ? lookUp(table, asked) : lookUp(table, asked, { cellOf })
}

function routeOf(table: Table, ask: PlainAsk): Table['routes'][number] | undefined {
  return table.routes[indexOf(table, ask)]
}

test(`the table decides as the interpreter does: ${cases} cases`, () => {
  process.stderr.write(`seed ${seed}\n`)
  const seen = new Map<string, number>()
  const count = (what: string): void => void seen.set(what, (seen.get(what) ?? 0) + 1)
  for (let c = 0, run = seed; c < cases; c += casesOfRules, run++) {
    const random = new RandomRules(run)
    const rules = parseRules(random.rules())
    const table = compileRules(rules, versions, 1, 0)
    for (let i = 0; i < casesOfRules; i++) {
      // One clock, that goes back as well: what a ramp set stays until it is told the time.
      const ask = { ...random.ask(), ...(i % 10 === 0 ? {} : { nowMs: 0 }) }
      advance(table, ask.nowMs)
      const { decision, refusal, steps, context } = explain(rules, ask)
      const at = indexOf(table, ask)
      const route = table.routes[at]
      const found = route && { workflow: `${route.workflow}@${route.version}`, rule: route.rule, cell: route.cell }
      const agreed = JSON.stringify(found ?? null) === JSON.stringify(decision)
      if (!agreed || (at === NoRoute.REFUSED) !== (refusal !== null))
        throw new Error(
          `seed ${run}: the table says ${JSON.stringify(found)}, the interpreter ${JSON.stringify(decision)}\n` +
            `${JSON.stringify(ask)}\n${JSON.stringify(steps, null, 1)}\n${JSON.stringify(rules, null, 1)}`,
        )
      const draw = random.draw()
      const copied =
        route === undefined
          ? []
          : Array.from(into.subarray(0, lookUpShadows(table, asker, at, draw, into)), (s) => table.shadows[s]!.rule)
      const expected = decision === null ? [] : shadowsOf(rules, ask, decision, draw)
      if (copied.join() !== expected.join())
        throw new Error(`seed ${run}: copied to ${copied.join()}, not to ${expected.join()}\n${JSON.stringify(ask)}`)
      const sets = Array.from(into.subarray(0, lookUpEnrichments(table, asker, into)), (e) => table.enrichments[e]!.set)
      const seenContext = route === undefined ? ask.context : Object.assign({}, ask.context, ...sets.reverse())
      if (!isDeepStrictEqual(seenContext, context))
        throw new Error(
          `seed ${run}: ${JSON.stringify(seenContext)}, not ${JSON.stringify(context)}\n${JSON.stringify(ask)}`,
        )
      if (sets.length > 1) count('enrichments')
      if (steps.some(({ matched, reason }) => matched && /^(the|no) allocator/.test(reason))) count('allocator')
      count(route?.kind ?? (refusal === null ? 'unknown' : refusal.name))
      if (route?.kind === 'override' && route.cell !== null) count('override of a cell')
      if (copied.length > 0) count('shadow')
      if (table.shadows.some(({ shadow }) => copied.includes(shadow.id) && shadow.answered_by)) count('answered_by')
      if (steps.some((step) => step.kind === 'holdout' && step.matched)) count('holdout')
      const aside = ['holdout', 'enrichment', 'shadow']
      const deciding = steps.filter(({ matched, kind }) => matched && !aside.includes(kind))
      if (deciding.length !== (decision === null ? 0 : 1))
        throw new Error(`seed ${run}: one step decides: ${JSON.stringify(steps)}`)
    }
  }
  // Each end of the road was met often.
  const decided = ['override', 'override of a cell', 'condition', 'experiment', 'canary', 'default', 'unknown']
  for (const what of [
    ...decided,
    'PERMISSION_DENIED',
    'INVALID_ARGUMENT',
    'shadow',
    'answered_by',
    'holdout',
    'enrichments',
    'allocator',
  ])
    expect([what, (seen.get(what) ?? 0) > cases / 1000]).toEqual([what, true])
}, 600_000)

test('a cell that the allocator was not asked for yet is waited for, unless another rule decides', () => {
  const experiment = {
    id: 'ab-17',
    objectives: ['price'],
    when: { not: { tenant: 'quality' } },
    allocator: true as const,
    cells: [
      { name: '1', weight: 1, workflow: 'price@1' },
      { name: '2', weight: 1, workflow: 'price@2' },
    ],
  }
  const rules = parseRules({ objectives: { price: { default: 'price@3' } }, experiments: [experiment] })
  const table = compileRules(rules, versions, 1)
  const unknown = { cellOf: () => NoCell.UNKNOWN }
  expect(lookUp(table, asker.set('price', 'account-1', {}), unknown)).toBe(NoRoute.WAITS)
  expect(table.routes[lookUp(table, asker.set('price', null, {}), unknown)]!.rule).toBe('default')
  expect(table.routes[lookUp(table, asker.set('price', 'account-1', { tenant: 'quality' }), unknown)]!.rule).toBe(
    'default',
  )
  // Who asks nobody decides by the default cell.
  expect(table.routes[lookUp(table, asker.set('price', 'account-1', {}))]).toMatchObject({ rule: 'ab-17', cell: '1' })
})

test('ten thousand objectives are each found, others are not', () => {
  const names = Array.from({ length: 10_000 }, (_, i) => `objective-${i}`)
  const rules = { objectives: Object.fromEntries(names.map((name) => [name, { default: 'price@1' }])) }
  const table = compileRules(parseRules(rules), versions, 1)
  const at = (name: string): number => lookUp(table, asker.set(name, null, {}))
  expect(names.filter((name) => table.routes[at(name)]?.objective !== name)).toEqual([])
  expect(names.filter((name) => at(`${name}-`) !== -1)).toEqual([])
  // Half of a hash is not enough.
  const { lo, hi } = objectiveHash('objective-0')
  const other = (half: number): number => (half ^ 0x80000000) >>> 0
  for (const [objectiveLo, objectiveHi] of [[lo, other(hi)] as const, [other(lo), hi] as const])
    expect(lookUp(table, Object.assign(asker.set('', null, {}), { objectiveLo, objectiveHi }))).toBe(-1)
  expect(lookUp(compileRules({ objectives: {} }, [], 1), asker.set('objective-0', null, {}))).toBe(-1)
})

test('what lies behind a text in its last word does not count', () => {
  const rules = parseRules({
    attributes: { country: 'text' },
    objectives: { price: { default: 'price@1' } },
    conditions: [{ id: 'us', objectives: ['price'], when: { country: 'US' }, workflow: 'price@2' }],
  })
  const table = compileRules(rules, versions, 1)
  asker.set('price', 'account-1', { country: 'US' })
  asker.words[asker.contextTextBegin[0]! >>> 2]! |= 0xeeee0000
  asker.words[(asker.contextNameBegin[0]! + 4) >>> 2]! |= 0xee000000
  expect(table.routes[lookUp(table, asker)]!.rule).toBe('us')
})

test('names and texts that are alike by their length, first and last word are told apart', () => {
  const names = Array.from({ length: 50 }, (_, i) => `name-${String(i).padStart(4, '0')}-name`)
  const rules = parseRules({
    attributes: Object.fromEntries(names.map((name) => [name, 'text'])),
    objectives: { price: { default: 'price@1' } },
    conditions: names.map((name) => ({ id: name, objectives: ['price'], when: { [name]: name }, workflow: 'price@2' })),
  })
  const table = compileRules(rules, versions, 1)
  for (const name of names)
    for (const other of names.slice(0, 3)) {
      const context = { 'name-none-name': name, [name]: other }
      const rule = table.routes[lookUp(table, asker.set('price', null, context))]!.rule
      expect([name, other, rule]).toEqual([name, other, name === other ? name : 'default'])
    }
})

test('a cell ends before the bucket that is its end', () => {
  for (const subject of ['account-1', 'account-2', 'account-3']) {
    const bucket = bucketOf('e', subject)
    for (const [end, cell] of [
      [bucket, 'after'],
      [bucket + 1, 'before'],
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
      expect(routeOf(table, { objective: 'price', subject, context: {}, nowMs: 0 })!.cell).toBe(cell)
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
    objectives: { price: { default: 'price@3' } },
    experiments: [{ id: 'e', objectives: ['price'], cells }],
  }
  const table = compileRules(parseRules(rules), versions, 1)
  const met = new Set<string | null>()
  for (let i = 0; i < 2000; i++)
    met.add(routeOf(table, { objective: 'price', subject: `account-${i}`, context: {}, nowMs: 0 })!.cell)
  expect([...met]).toEqual(['all'])
})

test('a canary goes its ramp by the clock, and says when it moves next', () => {
  const [first, second] = ['2026-03-01T00:00:00Z', '2026-03-02T00:00:00Z']
  const rules = parseRules({
    objectives: { price: { default: 'price@1' } },
    canaries: [
      {
        id: 'c',
        objectives: ['price'],
        workflow: 'price@2',
        ramp: [
          { at: first, percent: 5 },
          { at: second, percent: 100 },
        ],
      },
    ],
  })
  const table = compileRules(rules, versions, 1, Date.parse(first) - 1)
  const share = (): number => {
    let taken = 0
    for (let i = 0; i < 2000; i++)
      if (routeOf(table, { objective: 'price', subject: `account-${i}`, context: {}, nowMs: 0 })!.rule === 'c') taken++
    return taken / 2000
  }
  expect(share()).toBe(0)
  expect(advance(table, Date.parse(first) - 1)).toBe(Date.parse(first))
  expect(advance(table, Date.parse(first))).toBe(Date.parse(second))
  expect(share()).toBeCloseTo(0.05, 1)
  expect(advance(table, Date.parse(second))).toBe(Infinity)
  expect(share()).toBe(1)
})

test('versions that are not there are named together, with their places', () => {
  const rules = parseRules({
    objectives: { price: { default: 'price@9' }, titles: { default: 'título@1' } },
    canaries: [{ id: 'c', objectives: ['titles'], workflow: 'título@8', percent: 5 }],
  })
  expect(() => compileRules(rules, versions, 1)).toThrow(
    /\$\.objectives\.price\.default: price@9[^]*\$\.canaries\[0\]\.workflow: título@8/,
  )
})
