import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Context } from '@millrace/base'
import { rulesSchema } from './rules'
import { z } from 'zod'
import {
  compileRules,
  defineRules,
  advance,
  explain,
  lookUp,
  lookUpShadows,
  parseRules,
  PlainAsker,
  rulesOf,
  type PlainOverride,
  type RulesFile,
} from './index'

const text = readFileSync(join(__dirname, '../README.md'), 'utf8')

interface Asked {
  readonly objective: string
  readonly subject?: string
  readonly context?: Context
  readonly override?: PlainOverride
  readonly at?: string
}

/** Each example with the table of requests below it. */
const examples = text
  .split('```json\n')
  .slice(1)
  .map((part) => {
    const [json, after] = part.split('\n```\n') as [string, string]
    const rows = [
      ...after.matchAll(/^\| `(\{ "objective".*?\})`\s*\| (.*?)\s*\| (.*?)\s*\| (.*?)\s*\|(?: (.*?)\s*\|)?$/gm),
    ]
    return { rules: JSON.parse(json) as unknown, rows }
  })

const asker = new PlainAsker()
const labelOf = (route: { workflow: string; version: number } | undefined): string | null =>
  route === undefined ? null : `${route.workflow}@${route.version}`

test.each(examples)('example %# decides as the page says', ({ rules: file, rows }) => {
  const rules = parseRules(file)
  const named = new Set(
    [...JSON.stringify(file).matchAll(/"([a-z]+)@(\d+)"/g)].map(([, name, version]) => `${name}@${version}`),
  )
  const versions = [...named].map((one) => ({ name: one.split('@')[0]!, version: Number(one.split('@')[1]) }))
  const table = compileRules(rules, versions, 1)
  const shadows = new Int32Array(table.shadows.length)
  expect(rows).not.toEqual([])
  for (const [, json, workflow, rule, cell, copy = ''] of rows) {
    const { objective, subject = null, context = {}, override = null, at } = JSON.parse(json!) as Asked
    const nowMs = at === undefined ? Date.now() : Date.parse(at)
    const plain = (value: string): string | null => (value === '' ? null : value.replaceAll('`', ''))
    const expected =
      workflow === 'nobody' ? null : { workflow: plain(workflow!), rule: plain(rule!), cell: plain(cell!) }
    expect([json, explain(rules, { objective, subject, context, override, nowMs }).decision]).toEqual([json, expected])
    advance(table, nowMs)
    const index = lookUp(table, asker.set(objective, subject, context, override))
    const route = table.routes[index]
    expect(labelOf(route)).toBe(expected?.workflow ?? null)
    // The first draw is in every share.
    const copies = route === undefined ? 0 : lookUpShadows(table, asker, index, 0, shadows)
    const copied = Array.from(shadows.subarray(0, copies), (s) => labelOf(table.shadows[s]))
    expect([json, copied]).toEqual([json, copy === '' ? [] : [plain(copy)]])
  }
})

test('every part of the language has an example', () => {
  const shown = new Set(examples.flatMap(({ rules }) => Object.keys(rules as object)))
  const parts = Object.keys(rulesSchema.shape).filter((part) => part !== '$schema' && part !== 'version')
  expect(parts.filter((part) => !shown.has(part))).toEqual([])
  expect(examples.reduce((sum, { rows }) => sum + rows.length, 0)).toBeGreaterThan(20)
})

test('rules.schema.json is the schema (npm run generate)', () => {
  const published = JSON.parse(readFileSync(join(__dirname, '../rules.schema.json'), 'utf8')) as unknown
  const schema: unknown = JSON.parse(JSON.stringify(z.toJSONSchema(rulesSchema, { io: 'input' })))
  expect(published).toEqual({ title: 'Millrace rules', ...(schema as object) })
})

test('TypeScript rules know the repository', () => {
  const rules = rulesOf<'price@1' | 'offers@1'>()
  const file: RulesFile = rules({
    objectives: { price: { default: 'price@1' }, offers: { default: 'offers@1' } },
    canaries: [{ id: 'c', objectives: ['price'], workflow: 'price@1', percent: 5 }],
  })
  expect(parseRules(defineRules(file)).canaries).toHaveLength(1)
  // @ts-expect-error -- price@2 is not in the repository
  rules({ objectives: { price: { default: 'price@2' } } })
  // @ts-expect-error -- there is no objective of this name
  rules({ objectives: { price: { default: 'price@1' } }, holdouts: [{ id: 'h', objectives: ['cost'], percent: 1 }] })
})
