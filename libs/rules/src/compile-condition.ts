import { murmur3, type AttributeKind } from '@millrace/base'
import { testsOf, type PlainTest } from './condition'
import { If, nameSeed, textSeed } from './program'
import type { Condition } from './rules'

const encoder = new TextEncoder()

/** What conditions need beside the records: literals, sets, numbers and attributes, each written once. */
export class Pool {
  readonly numbers: number[] = []
  /** Kinds by slot. */
  readonly kinds: AttributeKind[] = []
  private readonly slots = new Map<string, number>()
  private readonly literals = new Map<string, number>()

  constructor(
    private readonly program: number[],
    private readonly declared: Readonly<Record<string, AttributeKind>>,
  ) {}

  /** The slot that an attribute is bound to while a request is looked up. */
  slot(attribute: string): number {
    let slot = this.slots.get(attribute)
    if (slot === undefined) {
      slot = this.kinds.push(this.declared[attribute]!) - 1
      this.slots.set(attribute, slot)
    }
    return slot
  }

  /** Where the text lies in the program. */
  literal(text: string): number {
    const known = this.literals.get(text)
    if (known !== undefined) return known
    const bytes = encoder.encode(text)
    const padded = new Uint8Array((bytes.length + 3) & ~3)
    padded.set(bytes)
    const at = this.program.push(bytes.length, ...new Uint32Array(padded.buffer)) - 1 - padded.length / 4
    this.literals.set(text, at)
    return at
  }

  /** Open addressing by hash over texts, at most half full. */
  set(texts: readonly string[]): number {
    return this.hashed([...new Set(texts)], textSeed, 2, () => [])
  }

  /** The attributes by name, or 0 when no condition asks for one. */
  attributes(): number {
    return this.slots.size === 0
      ? 0
      : this.hashed([...this.slots.keys()], nameSeed, 3, (name) => [this.slots.get(name)!])
  }

  private hashed(texts: readonly string[], seed: number, width: number, more: (text: string) => number[]): number {
    const capacity = 2 ** Math.ceil(Math.log2(texts.length * 2 + 1))
    const entries = new Array<number>(capacity * width).fill(0)
    for (const text of texts) {
      const bytes = encoder.encode(text)
      const hash = murmur3(bytes, 0, bytes.length, seed)
      let at = hash & (capacity - 1)
      while (entries[at * width + 1] !== 0) at = (at + 1) & (capacity - 1)
      const entry = [hash, this.literal(text), ...more(text)]
      entry.forEach((value, i) => (entries[at * width + i] = value))
    }
    // Literals first: they go to the program's end too.
    return this.program.push(capacity - 1, ...entries) - 1 - entries.length
  }
}

/** The condition as integers, [opcode, length, ...]. */
export function compileCondition(condition: Condition, pool: Pool): number[] {
  const parts = testsOf(condition).flatMap(([attribute, test]) => compileTest(attribute, test, pool))
  // What costs least is asked first: texts are hashed and compared.
  parts.sort((a, b) => Number(asksText(a)) - Number(asksText(b)))
  for (const one of condition.all ?? []) parts.push(compileCondition(one, pool))
  if (condition.any !== undefined) parts.push(node(If.ANY, ...condition.any.map((one) => compileCondition(one, pool))))
  if (condition.not !== undefined) parts.push(node(If.NOT, compileCondition(condition.not, pool)))
  return parts.length === 1 ? parts[0]! : node(If.ALL, ...parts)
}

/** A test of a text, or the negation of one. */
function asksText(test: readonly number[]): boolean {
  return test[0] === If.TEXT_IN || (test[0] === If.NOT && test[2] === If.TEXT_IN)
}

function compileTest(attribute: string, test: PlainTest, pool: Pool): number[][] {
  const slot = pool.slot(attribute)
  const parts: number[][] = []
  if (test.in !== undefined) parts.push(among(slot, test.in, pool))
  if (test.not_in !== undefined) parts.push(node(If.NOT, among(slot, test.not_in, pool)))
  if (test.from !== undefined || test.below !== undefined)
    parts.push(node(If.RANGE, [slot, pool.numbers.push(test.from ?? -Infinity, test.below ?? NaN) - 2]))
  if (test.present !== undefined) {
    const present = node(If.PRESENT, [slot])
    parts.push(test.present ? present : node(If.NOT, present))
  }
  if (test.is !== undefined) parts.push(node(If.TRUTH, [slot, test.is ? 1 : 0]))
  return parts
}

function among(slot: number, values: readonly (string | number)[], pool: Pool): number[] {
  if (pool.kinds[slot] === 'text') return node(If.TEXT_IN, [slot, pool.set(values as readonly string[])])
  const from = pool.numbers.length
  pool.numbers.push(...([...values] as number[]).sort((a, b) => a - b))
  return node(If.NUMBER_IN, [slot, from, pool.numbers.length])
}

function node(opcode: number, ...parts: readonly number[][]): number[] {
  const body = parts.flat()
  return [opcode, 2 + body.length, ...body]
}
