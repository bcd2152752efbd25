import { parseRules, RulesError } from './index'

const cell = (name: string, weight = 1): object => ({ name, weight, workflow: 'price@1' })
const experiment = (fields: object = {}): object => ({ id: 'e', objectives: ['price'], cells: [cell('a')], ...fields })
const canary = (fields: object = {}): object => ({ id: 'c', objectives: ['price'], workflow: 'price@1', ...fields })
const shadow = (fields: object): object => ({
  id: 's',
  objectives: ['price'],
  workflow: 'price@1',
  percent: 5,
  ...fields,
})
const condition = (when: object, fields: object = {}): object => ({
  conditions: [{ id: 'k', objectives: ['price'], when, workflow: 'price@1', ...fields }],
})
const rules = (parts: object): object => ({
  attributes: { country: 'text', age: 'number', kids: 'truth' },
  objectives: { price: { default: 'price@1' } },
  ...parts,
})

function problems(json: unknown): readonly string[] {
  try {
    parseRules(json)
    return []
  } catch (error) {
    if (error instanceof RulesError) return error.problems
    throw error
  }
}

test.each<[string, object, RegExp]>([
  [
    'no objective',
    { experiments: [experiment({ objectives: ['cost'] })] },
    /^\$\.experiments\[0\]\.objectives\[0\]: .*cost/,
  ],
  [
    'an objective twice',
    { experiments: [experiment({ objectives: ['price', 'price'] })] },
    /objectives\[1\]: price is there twice/,
  ],
  [
    'one id for two rules',
    { experiments: [experiment()], canaries: [canary({ id: 'e', percent: 5 })] },
    /^\$\.canaries\[0\]\.id: e/,
  ],
  ['an id that is taken', { experiments: [experiment({ id: 'default' })] }, /^\$\.experiments\[0\]\.id/],
  [
    'one cell twice',
    { experiments: [experiment({ cells: [cell('a'), cell('a')] })] },
    /cells\[1\]\.name: a is there twice/,
  ],
  [
    'no weight',
    { experiments: [experiment({ cells: [cell('a', 0)] })] },
    /^\$\.experiments\[0\]\.cells: the weights add up to 0/,
  ],
  ['a negative weight', { experiments: [experiment({ cells: [cell('a', -1)] })] }, /cells\[0\]\.weight/],
  ['no version', { objectives: { price: { default: 'price' } } }, /^\$\.objectives\.price\.default/],
  ['version 0', { objectives: { price: { default: 'price@0' } } }, /^\$\.objectives\.price\.default/],
  ['a field that is not known', { shadow: [] }, /shadow/],
  ['a percent of 101', { canaries: [canary({ percent: 101 })] }, /^\$\.canaries\[0\]\.percent/],
  ['neither percent nor ramp', { canaries: [canary()] }, /^\$\.canaries\[0\]: give percent or ramp/],
  [
    'a ramp that goes back',
    {
      canaries: [
        canary({
          ramp: [
            { at: '2026-01-02T00:00:00Z', percent: 1 },
            { at: '2026-01-01T00:00:00Z', percent: 2 },
          ],
        }),
      ],
    },
    /^\$\.canaries\[0\]\.ramp\[1\]\.at/,
  ],
  ['a time that is none', { canaries: [canary({ ramp: [{ at: 'tomorrow', percent: 1 }] })] }, /ramp\[0\]\.at/],
  [
    'groups that overlap',
    {
      experiments: [
        experiment({ group: { name: 'g', from: 0, to: 50 } }),
        experiment({ id: 'f', group: { name: 'g', from: 49, to: 60 } }),
      ],
    },
    /^\$\.experiments\[1\]\.group: 49 to 60 overlaps 0 to 50 of e/,
  ],
  [
    'an empty group',
    { experiments: [experiment({ group: { name: 'g', from: 5, to: 5 } })] },
    /\.group: from 5 to 5 is nobody/,
  ],
  [
    'a cell of another objective',
    { experiments: [experiment({ cells: [{ name: 'a', weight: 1, workflow: { cost: 'price@1' } }] })] },
    /workflow\.cost/,
  ],
  [
    'no such default cell',
    { experiments: [experiment({ cell_from: 'country', default_cell: 'b' })] },
    /default_cell: there is no cell b; cells are a/,
  ],
  [
    'cells from a number',
    { experiments: [experiment({ cell_from: 'age' })] },
    /cell_from: age is not declared as text/,
  ],
  ['an attribute that is not declared', condition({ city: 'Bern' }), /^\$\.conditions\[0\]\.when\.city: declare it/],
  ['one inherited by every object', condition({ constructor: 'Bern' }), /when\.constructor: declare it/],
  ['a number for a text', condition({ country: 5 }), /when\.country: is declared text, 5 is number/],
  ['a range of texts', condition({ country: { from: 5 } }), /when\.country: .*for numbers/],
  ['a range of nothing', condition({ age: { from: 5, below: 5 } }), /when\.age: from 5 below 5 is nothing/],
  ['a truth for a number', condition({ age: true }), /when\.age: is declared number, true is truth/],
  [
    'inside of any and not',
    condition({ any: [{ not: { city: 'Bern' } }] }),
    /^\$\.conditions\[0\]\.when\.any\[0\]\.not\.city/,
  ],
  ['a condition that asks nothing', condition({}), /^\$\.conditions\[0\]\.when: asks nothing/],
  ['a taken name', { attributes: { tenant: 'number' } }, /^\$\.attributes\.tenant: the name is taken/],
  [
    'the same condition twice',
    {
      conditions: [
        { id: 'a', objectives: ['price'], when: { age: { from: 1, below: 2 }, kids: true }, workflow: 'price@1' },
        { id: 'b', objectives: ['price'], when: { kids: true, age: { from: 1, below: 2 } }, workflow: 'price@1' },
      ],
    },
    /^\$\.conditions\[1\]: price never gets here: a asks the same/,
  ],
  [
    'an experiment behind one that takes all',
    { experiments: [experiment(), experiment({ id: 'f' })] },
    /^\$\.experiments\[1\]: no subject of price gets here: e takes/,
  ],
  [
    'a canary behind an experiment that takes all',
    { experiments: [experiment()], canaries: [canary({ percent: 5 })] },
    /^\$\.canaries\[0\]: no subject/,
  ],
  [
    'a stop without a limit',
    { canaries: [canary({ percent: 5, stop: {} })] },
    /^\$\.canaries\[0\]\.stop: has no limit: give/,
  ],
  [
    'a stop by difference that no shadow finds',
    { canaries: [canary({ workflow: 'price@2', percent: 5, stop: { difference_max: 1 } })] },
    /^\$\.canaries\[0\]\.stop\.difference_max: of price, no shadow has price@1 answer .*"answered_by":\["c"\]/,
  ],
  [
    'a stop by difference whose shadow copies the wrong way',
    {
      canaries: [canary({ workflow: 'price@2', percent: 5, stop: { difference_rate_max: 0 } })],
      shadows: [shadow({ workflow: 'price@2' })],
    },
    /^\$\.canaries\[0\]\.stop\.difference_rate_max: of price, no shadow/,
  ],
  ['a shadow of what answers', { shadows: [shadow({})] }, /^\$\.shadows\[0\]: copies nothing of price: price@1/],
  [
    'a shadow of a rule that answers nothing',
    { shadows: [shadow({ workflow: 'price@2', answered_by: ['default', 'x'] })] },
    /^\$\.shadows\[0\]\.answered_by\[1\]: no rule x answers/,
  ],
  [
    'an override of nothing',
    { overrides: [{ id: 'o', objectives: ['price'], when: { tenant: 'a' } }] },
    /^\$\.overrides\[0\]: allows nothing/,
  ],
  [
    'an override of no experiment',
    { overrides: [{ id: 'o', objectives: ['price'], when: { tenant: 'a' }, experiments: ['x'] }] },
    /experiments\[0\]: there is no experiment x/,
  ],
  [
    'an override of an experiment of other objectives',
    {
      objectives: { price: { default: 'price@1' }, cost: { default: 'price@1' } },
      experiments: [experiment()],
      overrides: [{ id: 'o', objectives: ['cost'], when: { tenant: 'a' }, experiments: ['e'] }],
    },
    /^\$\.overrides\[0\]\.experiments\[0\]: e is for none/,
  ],
  [
    'an enrichment of nothing',
    { enrichments: [{ id: 'n', objectives: ['price'], set: {} }] },
    /^\$\.enrichments\[0\]\.set: sets nothing/,
  ],
  [
    'an enrichment of another kind than declared',
    { enrichments: [{ id: 'n', objectives: ['price'], set: { country: 5 } }] },
    /set\.country: is declared text, 5 is number/,
  ],
  [
    'an enrichment of what the request says',
    { enrichments: [{ id: 'n', objectives: ['price'], set: { traffic: 'test' } }] },
    /set\.traffic: is what the request says/,
  ],
  ['a burst of nothing', { limits: [{ id: 'l', requests_in_flight: 1, burst: 2 }] }, /^\$\.limits\[0\]\.burst: /],
  ['a limit of nothing', { limits: [{ id: 'l' }] }, /^\$\.limits\[0\]: limits nothing/],
])('%s is refused with its place', (_, parts, message) => {
  expect(problems(rules(parts))).toEqual(expect.arrayContaining([expect.stringMatching(message)]))
})

test('problems come together', () => {
  expect(problems(rules({ ...condition({ city: 'Bern', age: 'old' }), canaries: [canary()] }))).toHaveLength(3)
})

test.each<[string, object]>([
  [
    'a canary behind an experiment with a holdout',
    {
      holdouts: [{ id: 'h', objectives: ['price'], percent: 10 }],
      experiments: [experiment()],
      canaries: [canary({ percent: 5 })],
    },
  ],
  [
    'an experiment behind one with a condition',
    { experiments: [experiment({ when: { kids: true } }), experiment({ id: 'f' })] },
  ],
  [
    'a canary behind one that was stopped',
    {
      canaries: [
        canary({ percent: 100, stopped: { at: '2026-11-24T09:00:00Z', why: 'it failed' } }),
        canary({ id: 'd', percent: 5 }),
      ],
    },
  ],
  ['an experiment behind a share', { experiments: [experiment({ percent: 99 }), experiment({ id: 'f' })] }],
  [
    'halves of a group',
    {
      experiments: [
        experiment({ group: { name: 'g', from: 0, to: 50 } }),
        experiment({ id: 'f', group: { name: 'g', from: 50, to: 100 } }),
      ],
    },
  ],
])('%s is reached', (_, parts) => expect(problems(rules(parts))).toEqual([]))

test('a name that would change what an object inherits from is none', () => {
  expect(problems(JSON.parse('{"objectives": {"__proto__": {"default": "price@1"}}}')).length).toBeGreaterThan(0)
})

test('problems of form, of meaning and of versions are told together, each at its place', () => {
  const file = {
    objectives: { price: { default: 'price@1' } },
    conditions: [
      { id: 'a', objectives: ['price'], when: { country: 'US' }, workflow: 'price@1' },
      { id: 'b', objectives: ['price'], workflow: 'price@2' },
      { id: 'c', objectives: ['cost'], when: { tenant: 'x' }, workflow: 'price@9' },
    ],
    experiments: [
      { id: 'e', objectives: ['price'], cells: [] },
      { id: 'f', objectives: ['price'], cells: [{ name: 'only', weight: 0 }] },
    ],
    // Of an experiment that is only written wrongly.
    overrides: [{ id: 'o', objectives: ['price'], when: { tenant: 'x' }, experiments: ['e'] }],
  }
  const problems = (() => {
    try {
      parseRules(file, [{ name: 'price', version: 1 }])
    } catch (error) {
      return (error as RulesError).problems
    }
    return []
  })()
  expect(problems.map((problem) => problem.split(': ')[0])).toEqual([
    '$.conditions[1].when',
    '$.experiments[0].cells',
    '$.conditions[0].when.country',
    '$.conditions[2].objectives[0]',
    '$.experiments[1].cells',
    '$.conditions[2].workflow',
  ])
})
