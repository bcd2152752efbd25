import { testsOf, type PlainTest } from './condition'
import type { Pool } from './pool'
import { Op } from './program'
import type { Jumps, Records } from './records'
import type { Condition } from './rules'

/** Adds the tests of a condition; the jumps are still to land: where it holds, and where it does not. */
export function addCondition(records: Records, condition: Condition, pool: Pool): Jumps {
  const tests = testsOf(condition).flatMap(([attribute, test]) => partsOf(attribute, test, pool))
  // What costs least is asked first: texts are hashed and compared.
  tests.sort((a, b) => Number(asksText(a)) - Number(asksText(b)))
  const parts = tests.map(({ op, slot, value, negated }) => (): Jumps => {
    const jumps = records.test(op, slot, value)
    return negated ? not(jumps) : jumps
  })
  for (const one of condition.all ?? []) parts.push(() => addCondition(records, one, pool))
  const { any, not: no } = condition
  // Any of them holds: not that each of them does not.
  if (any !== undefined)
    parts.push(() =>
      not(
        inTurn(
          records,
          any.map((one) => () => not(addCondition(records, one, pool))),
        ),
      ),
    )
  if (no !== undefined) parts.push(() => not(addCondition(records, no, pool)))
  return inTurn(records, parts)
}

/** Each is asked where those before it hold. */
function inTurn(records: Records, parts: readonly (() => Jumps)[]): Jumps {
  const otherwise: number[] = []
  let then: readonly number[] = []
  for (const part of parts) {
    for (const jump of then) records.land(jump)
    const jumps = part()
    then = jumps.then
    otherwise.push(...jumps.otherwise)
  }
  return { then, otherwise }
}

function not({ then, otherwise }: Jumps): Jumps {
  return { then: otherwise, otherwise: then }
}

interface Test {
  readonly op: number
  readonly slot: number
  readonly value: number
  readonly negated?: boolean
}

function asksText({ op }: Test): boolean {
  return op === Op.TEXT_IN || op === Op.TEXT_IN_MANY
}

function partsOf(attribute: string, test: PlainTest, pool: Pool): Test[] {
  const slot = pool.slot(attribute)
  const parts: Test[] = []
  if (test.in !== undefined) parts.push(among(slot, test.in, pool))
  if (test.not_in !== undefined) parts.push({ ...among(slot, test.not_in, pool), negated: true })
  if (test.from !== undefined || test.below !== undefined)
    parts.push({ op: Op.RANGE, slot, value: pool.numbers.push(test.from ?? -Infinity, test.below ?? NaN) - 2 })
  if (test.present !== undefined) parts.push({ op: Op.PRESENT, slot, value: 0, negated: !test.present })
  if (test.is !== undefined) parts.push({ op: Op.TRUTH, slot, value: test.is ? 1 : 0 })
  return parts
}

function among(slot: number, values: readonly (string | number)[], pool: Pool): Test {
  if (pool.kinds[slot] === 'text') {
    const [op, value] = pool.among(values as readonly string[])
    return { op, slot, value }
  }
  const value = pool.numbers.push(values.length, ...(values as readonly number[])) - 1 - values.length
  return { op: Op.NUMBER_IN, slot, value }
}
