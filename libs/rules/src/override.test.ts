import type { Context } from '@millrace/base'
import { explain, parseRules, type PlainOverride } from './index'

const cells = ['control', 'treatment'].map((name) => ({ name, weight: 1, workflow: 'price@2' }))
const rules = parseRules({
  objectives: { price: { default: 'price@1' }, offers: { default: 'price@1' } },
  experiments: [
    { id: 'a', objectives: ['price'], percent: 1, cells },
    { id: 'b', objectives: ['price'], percent: 1, cells: [...cells, { name: 'third', weight: 1 }] },
  ],
  overrides: [
    { id: 'testers', objectives: ['price'], when: { tenant: 'quality' }, workflows: ['price@2'], experiments: ['b'] },
    { id: 'owners', objectives: ['price'], when: { tenant: ['price', 'quality'] }, workflows: ['price@3'] },
  ],
})

const ask = (override: PlainOverride, context: Context, objective = 'price'): ReturnType<typeof explain> =>
  explain(rules, { objective, subject: 'account-1', context, override, nowMs: 0 })

test('each override says what it allows, or whom it is for', () => {
  const { refusal } = ask({ workflow: 'price', version: 9 }, { tenant: 'price' })
  expect(refusal?.name).toBe('PERMISSION_DENIED')
  expect(refusal?.message).toBe(
    'override: price@9 is not allowed: rule testers: it does not hold: tenant is quality; rule owners: it allows price@3',
  )
})

test('an objective without overrides says so', () => {
  expect(ask({ cell: 'third' }, {}, 'offers').refusal?.message).toBe(
    'override: cell third is not allowed: the rules have no override for offers',
  )
})

test('a cell whose experiment is not clear asks for it, whoever asks', () => {
  for (const tenant of ['quality', 'nobody']) {
    const { refusal } = ask({ cell: 'treatment' }, { tenant })
    expect(refusal?.name).toBe('INVALID_ARGUMENT')
    expect(refusal?.message).toBe('override.experiment: cell treatment is in a, b; name one of them')
  }
  expect(ask({ cell: 'third' }, { tenant: 'quality' }).decision).toEqual({
    workflow: 'price@1',
    rule: 'testers',
    cell: 'third',
  })
  expect(ask({ cell: 'treatment', experiment: 'a' }, { tenant: 'quality' }).refusal?.message).toBe(
    'override: cell treatment of a is not allowed: ' +
      'rule testers: it allows price@2, cells of b; rule owners: it allows price@3',
  )
})

test('what comes after a refused override is not asked', () => {
  const { decision, steps } = ask({ workflow: 'price', version: 9 }, {})
  expect(decision).toBeNull()
  expect(steps.filter(({ matched }) => matched)).toEqual([])
  expect(steps.at(-1)).toMatchObject({ rule: 'default', reason: 'the override is refused' })
})
