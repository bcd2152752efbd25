import { kindOf, type AttributeKind, type AttributeValue, type Context } from '@millrace/base'
import type { AttributeTest, Condition } from './rules'

/** One test of one attribute, its short forms written out. */
export interface PlainTest {
  readonly in?: readonly (string | number)[] | undefined
  readonly not_in?: readonly (string | number)[] | undefined
  readonly from?: number | undefined
  readonly below?: number | undefined
  readonly present?: boolean | undefined
  readonly is?: boolean
}

export function plainTest(test: AttributeTest): PlainTest {
  if (typeof test === 'boolean') return { is: test }
  if (typeof test === 'object' && !Array.isArray(test)) return test
  return { in: Array.isArray(test) ? test : [test] }
}

/** The tests of a condition by attribute, without its `all`, `any` and `not`. */
export function testsOf(condition: Condition): [attribute: string, test: PlainTest][] {
  return Object.entries(condition)
    .filter(([name, test]) => test !== undefined && name !== 'all' && name !== 'any' && name !== 'not')
    .map(([name, test]) => [name, plainTest(test as AttributeTest)])
}

/** Whether a condition holds, as the reference tells it: what the table is checked against and explained by. */
export function holds(condition: Condition, context: Context, kinds: Readonly<Record<string, AttributeKind>>): boolean {
  return (
    (condition.all ?? []).every((one) => holds(one, context, kinds)) &&
    (condition.any === undefined || condition.any.some((one) => holds(one, context, kinds))) &&
    (condition.not === undefined || !holds(condition.not, context, kinds)) &&
    testsOf(condition).every(([name, test]) => passes(test, valueOf(context, name, kinds)))
  )
}

/** An attribute of another kind than the declared one is not there. */
export function valueOf(
  context: Context,
  name: string,
  kinds: Readonly<Record<string, AttributeKind>>,
): AttributeValue | undefined {
  const value = Object.hasOwn(context, name) ? context[name] : undefined
  return value !== undefined && kindOf(value) === kinds[name] ? value : undefined
}

function passes(test: PlainTest, value: AttributeValue | undefined): boolean {
  const among = (list: readonly (string | number)[]): boolean => list.some((one) => one === value)
  if (test.in !== undefined && !among(test.in)) return false
  if (test.not_in !== undefined && among(test.not_in)) return false
  if (test.from !== undefined && !(typeof value === 'number' && value >= test.from)) return false
  if (test.below !== undefined && !(typeof value === 'number' && value < test.below)) return false
  if (test.present !== undefined && (value !== undefined) !== test.present) return false
  return test.is === undefined || value === test.is
}

/** `country is one of US, CA and not (age from 18)`: for people. */
export function describe(condition: Condition): string {
  const parts = testsOf(condition).map(([name, test]) => describeTest(name, test))
  for (const one of condition.all ?? []) parts.push(bracketed(one))
  if (condition.any !== undefined) parts.push(`(${condition.any.map(bracketed).join(' or ')})`)
  if (condition.not !== undefined) parts.push(`not ${bracketed(condition.not)}`)
  return parts.join(' and ')
}

function bracketed(condition: Condition): string {
  const text = describe(condition)
  return text.includes(' ') ? `(${text})` : text
}

function describeTest(name: string, test: PlainTest): string {
  const parts: string[] = []
  if (test.in !== undefined) parts.push(`${name} ${test.in.length > 1 ? 'is one of' : 'is'} ${test.in.join(', ')}`)
  if (test.not_in !== undefined) parts.push(`${name} is none of ${test.not_in.join(', ')}`)
  if (test.from !== undefined) parts.push(`${name} is ${test.from} or more`)
  if (test.below !== undefined) parts.push(`${name} is below ${test.below}`)
  if (test.present !== undefined) parts.push(`${name} is ${test.present ? 'there' : 'not there'}`)
  if (test.is !== undefined) parts.push(`${name} is ${String(test.is)}`)
  return parts.join(' and ')
}
