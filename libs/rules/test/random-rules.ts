import { seededRandom, type AttributeValue } from '@millrace/base'
import { NoCell } from '../src/cells'
import type { PlainAsk } from '../src/interpret'
import type { PlainOverride } from '../src/override'
import { answersOf, isCopied, type Condition, type Rules, type RulesFile } from '../src/rules'

type Shadow = NonNullable<RulesFile['shadows']>[number]

/*
 * Rules and requests drawn from a seed: few names, so that they meet, and every part of the language often.
 */

export const versions = Array.from({ length: 6 }, (_, i) => ({
  name: i < 3 ? 'price' : 'título',
  version: 1 + (i % 3),
}))
const objectives = ['price', 'titles', 'search', 'título', 'constructor', '0']
const attributes = {
  country: 'text',
  surface: 'text',
  age: 'number',
  score: 'number',
  kids: 'truth',
  cell: 'text',
} as const
const texts = ['US', 'CA', 'DE', '', 'Österreich', 'a longer text than a word or two', 'b', 'none']
const numbers = [-1, 0, 0.5, 17, 18, 64, 65, 1e300]
const cellsSaid = ['b', 'cell-0', 'cell-1', 'no such cell']
/** 2026-01-01 and the days after it. */
const day0 = Date.UTC(2026, 0, 1)
const days = 10

export class RandomRules {
  private readonly next: () => number
  private ids = 0

  constructor(seed: number) {
    this.next = seededRandom(seed)
  }

  rules(): RulesFile {
    this.ids = 0
    const names = this.some(objectives, 1)
    const workflow = (): string => {
      const { name, version } = this.pick(versions)
      return `${name}@${version}`
    }
    const group = this.chance(0.4)
    let groupEnd = 0
    const experiments = this.list(4, () => {
      const own = this.some(names, 1)
      const cells = this.list(4, (c) => ({
        name: `cell-${c}`,
        weight: this.pick([0, 1, 1, 2, 50, 0.1]),
        ...(this.chance(0.3)
          ? {}
          : {
              workflow: this.chance(0.7)
                ? workflow()
                : Object.fromEntries(this.some(own).map((one) => [one, workflow()])),
            }),
      }))
      cells.push({ name: 'b', weight: 1, workflow: workflow() })
      const allocated = this.maybe(0.15, () => ({ allocator: true as const, percent: undefined, group: undefined }))
      const from = groupEnd
      groupEnd += this.whole(1, 30)
      return {
        id: this.id(),
        objectives: own,
        cells,
        ...this.maybe(0.3, () => ({ when: this.condition(3) })),
        ...this.maybe(0.3, () => ({ salt: this.pick(['one salt', 'other']) })),
        // Never everybody: what comes after it is reached.
        ...this.maybe(0.6, () => ({ percent: this.pick([0, 1, 10, 33.3, 50, 99]) }), { percent: 99.9 }),
        ...(group && groupEnd < 100 ? { group: { name: 'g', from, to: groupEnd } } : {}),
        ...this.maybe(0.2, () => ({ cell_from: 'cell', ...this.maybe(0.5, () => ({ default_cell: 'b' })) })),
        ...allocated,
      }
    })
    const rules: RulesFile = {
      attributes,
      objectives: Object.fromEntries(names.map((name) => [name, { default: workflow() }])),
      // No two the same: the condition of each names its own number.
      conditions: this.list(3, (c) => ({
        id: this.id(),
        objectives: this.some(names, 1),
        when: { all: [this.condition(3), { not: { age: -1000 - c } }] },
        workflow: workflow(),
      })),
      holdouts: this.list(2, () => ({ id: this.id(), objectives: this.some(names, 1), percent: this.whole(0, 60) })),
      experiments,
      canaries: this.list(3, () => ({
        id: this.id(),
        objectives: this.some(names, 1),
        workflow: workflow(),
        ...this.maybe(0.3, () => ({ when: this.condition(2) })),
        ...this.maybe(0.2, () => ({ stopped: { at: new Date(day0).toISOString(), why: 'it failed' } })),
        ...(this.chance(0.5)
          ? { percent: this.pick([0, 0.0000001, 1, 25, 99]) }
          : {
              ramp: Array.from({ length: this.whole(1, 4) }, (_, i) => ({
                at: new Date(day0 + 2 * i * 86_400_000).toISOString(),
                percent: this.whole(0, 100),
              })),
            }),
      })),
      enrichments: this.list(3, () => ({
        id: this.id(),
        objectives: this.some(names, 1),
        ...this.maybe(0.6, () => ({ when: this.condition(2) })),
        set: { market: this.pick(texts), ...this.maybe(0.5, () => ({ score: this.pick([1, 2]) })) },
      })),
      overrides: this.list(3, () => {
        const own = this.some(names, 1)
        const fitting = experiments.filter((one) => one.objectives.some((objective) => own.includes(objective)))
        const cells =
          fitting.length === 0
            ? []
            : this.some(
                fitting.map(({ id }) => id),
                1,
              )
        const workflows = Array.from({ length: this.whole(cells.length === 0 ? 1 : 0, 4) }, workflow)
        return {
          id: this.id(),
          objectives: own,
          // Often one that holds.
          when: this.chance(0.5) ? { not: { age: -1000 } } : this.condition(1),
          ...(workflows.length > 0 ? { workflows } : {}),
          ...(cells.length > 0 ? { experiments: cells } : {}),
        }
      }),
    }
    return { ...rules, shadows: this.list(3, () => this.shadow(rules, names, workflow())).flat() }
  }

  /** One, or none where nothing of an objective would be copied. */
  private shadow(rules: RulesFile, names: readonly string[], workflow: string): Shadow[] {
    const objectives = this.some(names, 1)
    const answers = objectives.map((objective) => answersOf(rules as Rules, objective))
    const shadow: Shadow = {
      id: this.id(),
      objectives,
      workflow,
      percent: this.pick([0, 0.00000001, 10, 50, 100]),
      ...this.maybe(0.4, () => ({ when: this.condition(2) })),
      ...this.maybe(0.4, () => ({ answered_by: this.some(answers.flat(), 1).map(({ rule }) => rule) })),
    }
    return answers.every((own) => own.some((answer) => isCopied(shadow, answer))) ? [shadow] : []
  }

  ask(): PlainAsk {
    const context: Record<string, AttributeValue> = {}
    for (const name of this.some([...Object.keys(attributes), 'tenant', 'unheard of', 'toString']))
      context[name] = this.chance(0.1) ? this.pick([true, 'US', 18]) : this.value(name)
    return {
      objective: this.chance(0.05) ? 'unknown' : this.pick(objectives),
      subject: this.chance(0.1) ? this.pick([null, '']) : `account-${this.whole(0, 1e9)}${this.pick(['', 'é', '中'])}`,
      context,
      override: this.chance(0.3) ? this.override() : null,
      nowMs: this.now(),
      cellOf: this.cells(),
    }
  }

  /** The same for an experiment however often it is asked. */
  private cells(): NonNullable<PlainAsk['cellOf']> {
    const known = new Map<string, string | NoCell>()
    return (experiment) => {
      if (!known.has(experiment)) known.set(experiment, this.pick([...cellsSaid, NoCell.NONE, NoCell.FAILED]))
      return known.get(experiment)!
    }
  }

  private override(): PlainOverride {
    if (this.chance(0.5)) return this.chance(0.1) ? { workflow: 'price', version: 2 ** 31 + 1 } : this.versionAsked()
    const cell = this.pick(['b', 'cell-0', 'cell-1', 'cell-2', 'none'])
    // Ids of a file are given in order: experiments have the first.
    return this.chance(0.5) ? { cell } : { cell, experiment: `rule-${this.whole(0, 5)}` }
  }

  private versionAsked(): PlainOverride {
    const { name, version } = this.pick(versions)
    return { workflow: name, version }
  }

  now(): number {
    return day0 + Math.floor((this.next() * (days + 2) - 1) * 86_400_000)
  }

  draw(): number {
    return this.pick([0, 0xffffffff, Math.floor(this.next() * 2 ** 32)])
  }

  private value(name: string): AttributeValue {
    const kind = (attributes as Readonly<Record<string, string>>)[name]
    if (name === 'cell') return this.pick(['cell-0', 'b', 'no such cell', ''])
    return kind === 'number' ? this.pick([...numbers, NaN]) : kind === 'truth' ? this.chance(0.5) : this.pick(texts)
  }

  private condition(depth: number): Condition {
    const one: Condition = {}
    for (const name of this.some(['country', 'surface', 'age', 'score', 'kids', 'tenant']).slice(0, 2))
      one[name] = this.test(name)
    if (depth > 0 && this.chance(0.3)) one.all = this.list(2, () => this.condition(depth - 1), 1)
    if (depth > 0 && this.chance(0.3)) one.any = this.list(3, () => this.condition(depth - 1), 1)
    if (depth > 0 && this.chance(0.3)) one.not = this.condition(depth - 1)
    return Object.keys(one).length > 0 ? one : { country: 'US' }
  }

  private test(name: string): Condition[string] {
    if (name === 'kids') return this.chance(0.8) ? this.chance(0.5) : { present: this.chance(0.5) }
    if (this.chance(0.15)) return { present: this.chance(0.5) }
    const list = name === 'age' || name === 'score' ? this.some(numbers, 1) : this.some(texts, 1)
    if (name === 'age' || name === 'score') {
      if (this.chance(0.4)) {
        const from = this.pick(numbers.slice(0, 5))
        return { from, ...this.maybe(0.6, () => ({ below: from + this.pick([0.5, 1, 47, 1000]) })) }
      }
      if (this.chance(0.3)) return { below: this.pick(numbers) }
    }
    return this.pick<NonNullable<Condition[string]>>([list[0]!, list, { in: list }, { not_in: list }])
  }

  private id(): string {
    return `rule-${this.ids++}`
  }

  private chance(p: number): boolean {
    return this.next() < p
  }

  private whole(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1))
  }

  private pick<T>(values: readonly T[]): T {
    return values[this.whole(0, values.length - 1)]!
  }

  private some<T>(values: readonly T[], least = 0): T[] {
    const taken = values.filter(() => this.chance(0.5))
    return taken.length < least ? [this.pick(values)] : taken
  }

  private list<T>(most: number, make: (i: number) => T, least = 0): T[] {
    return Array.from({ length: this.whole(least, most) }, (_, i) => make(i))
  }

  private maybe<T extends object>(p: number, make: () => T, otherwise: object = {}): T | Record<never, never> {
    return this.chance(p) ? make() : otherwise
  }
}
