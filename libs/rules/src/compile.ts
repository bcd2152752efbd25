import { bucketsOf, groupSalt, objectiveHash, saltHash, shareSalt, thresholds } from './allocate'
import { RulesError } from './check'
import type { AskedExperiment } from './cells'
import { addCondition } from './compile-condition'
import { defaultCell } from './interpret'
import { Pool } from './pool'
import { Op } from './program'
import { Records } from './records'
import {
  attributesOf,
  experimentsWith,
  isCopied,
  rulesFor,
  runningCanaries,
  workflowOf,
  type Canary,
  type Condition,
  type Experiment,
  type Rules,
  type Shadow,
} from './rules'
import { advance, bucketRange, type Ramp } from './ramp'
import type { Route, ShadowRoute, Table } from './table'

/** Until the jump's aim is known. */
const later = 0

/**
 * The rules as a table for `lookUp`. Canaries stand at the percent that they have at `nowMs`; `advance` moves them on.
 *
 * @throws RulesError with every workflow version that is not among `versions`
 */
export function compileRules(
  rules: Rules,
  versions: readonly { readonly name: string; readonly version: number }[],
  rulesVersion: number,
  nowMs = Date.now(),
): Table {
  const compiler = new Compiler(rules, versions)
  const objectives = Object.keys(rules.objectives)
  objectives.forEach((objective, place) => compiler.objective(objective, place))
  return compiler.finish(objectives, rulesVersion, nowMs)
}

class Compiler {
  private readonly problems = new Set<string>()
  private readonly routes: Route[] = []
  private readonly shadows: Omit<ShadowRoute, 'copies'>[] = []
  private readonly ramps: Ramp[] = []
  private readonly asked: AskedExperiment[] = []
  private readonly versionIndex: Map<string, number>
  private readonly program: number[]
  private readonly mask: number
  private readonly pool: Pool
  private readonly canaries: readonly Canary[]

  constructor(
    private readonly rules: Rules,
    versions: readonly { readonly name: string; readonly version: number }[],
  ) {
    this.canaries = runningCanaries(rules)
    this.versionIndex = new Map(versions.map((one, index) => [`${one.name}@${one.version}`, index]))
    const capacity = 2 ** Math.ceil(Math.log2(Object.keys(rules.objectives).length * 2 + 1))
    this.mask = capacity - 1
    this.program = [this.mask, ...new Array<number>(capacity * 3).fill(0)]
    this.pool = new Pool(this.program, attributesOf(rules))
  }

  objective(objective: string, place: number): void {
    const { rules, program } = this
    // Literals and sets lie between the objectives: what is under way is written when it is whole.
    const lists = [
      this.shadowRecords(objective),
      this.enrichmentRecords(objective),
      this.overrideRecords(objective),
    ] as const
    const records = this.decidingRecords(objective)
    const begins = lists.map((list) => this.apart(list))
    this.enter(objective, program.length)
    const asks = [...rulesFor(rules.conditions, objective), ...rulesFor(rules.experiments, objective)]
    const contexts = [...asks, ...rulesFor(this.canaries, objective)].some(
      (rule) => rule.when !== undefined || ('cell_from' in rule && rule.cell_from !== undefined),
    )
    program.push(place, contexts ? 1 : 0, ...begins)
    this.write(records)
  }

  finish(objectives: readonly string[], version: number, nowMs: number): Table {
    const attributesAt = this.pool.attributes()
    if (this.problems.size > 0) throw new RulesError([...this.problems])
    const table: Table = {
      version,
      rules: this.rules,
      objectives,
      routes: this.routes,
      shadows: this.shadows.map((shadow) => ({ ...shadow, copies: this.copiesOf(shadow) })),
      enrichments: this.rules.enrichments ?? [],
      ramps: this.ramps,
      asked: this.asked,
      attributesAt,
      slots: this.pool.kinds.length,
      numbers: Float64Array.from(this.pool.numbers),
      // Int32Array takes each number modulo 2^32.
      program: Int32Array.from(this.program),
    }
    advance(table, nowMs)
    return table
  }

  private decidingRecords(objective: string): Records {
    const { rules } = this
    const records = new Records()
    rulesFor(rules.conditions, objective).forEach((rule) => {
      const path = `$.conditions[${rules.conditions!.indexOf(rule)}].workflow`
      this.when(records, rule.when, () =>
        records.add(Op.ROUTE, this.route(path, rule.workflow, objective, rule.id, 'condition')),
      )
    })
    const experiments = rulesFor(rules.experiments, objective)
    if (experiments.length > 0) {
      const held = rulesFor(rules.holdouts, objective).map(({ id, salt, percent }) =>
        records.jump(Op.HELD, 3, saltHash(salt ?? id), ...bucketRange(0, percent), later),
      )
      for (const experiment of experiments) this.experiment(records, experiment, objective)
      for (const jump of held) records.land(jump)
    }
    for (const canary of rulesFor(this.canaries, objective)) this.canary(records, canary, objective)
    const path = `$.objectives.${objective}.default`
    records.add(Op.ROUTE, this.route(path, rules.objectives[objective]!.default, objective, 'default', 'default'))
    records.end()
    return records
  }

  private experiment(records: Records, experiment: Experiment, objective: string): void {
    const { rules } = this
    const { id, group, percent, cells, cell_from, allocator } = experiment
    const salt = experiment.salt ?? id
    const routes = cells.map((cell, c) => {
      const path = `$.experiments[${rules.experiments!.indexOf(experiment)}].cells[${c}].workflow`
      return this.route(path, workflowOf(rules, experiment, c, objective), objective, id, 'experiment', cell.name)
    })
    this.when(records, experiment.when, () => {
      if (cell_from !== undefined) {
        const named = cells.flatMap((cell, c) => [this.pool.literal(cell.name), routes[c]!])
        records.add(Op.GIVEN, this.pool.slot(cell_from), routes[defaultCell(experiment)]!, ...named)
      }
      if (allocator === true) {
        const asked = { experiment: id, routes: new Map(cells.map(({ name }, c) => [name, routes[c]!])) }
        records.add(Op.ASKED, this.asked.push(asked) - 1, routes[defaultCell(experiment)]!)
        return
      }
      const jumps: number[] = []
      const share = (seed: string, from: number, to: number): void => {
        jumps.push(records.jump(Op.SHARE, 3, saltHash(seed), ...bucketRange(from, to), later))
      }
      if (group !== undefined) share(groupSalt(group.name), group.from, group.to)
      if (percent !== undefined) share(shareSalt(salt), 0, percent)
      const ends = thresholds(cells.map((cell) => cell.weight))
      // The end less one fits 32 bits; an empty cell has no last bucket.
      const lasts = routes.flatMap((route, c) => (ends[c]! > (ends[c - 1] ?? 0) ? [ends[c]! - 1, route] : []))
      records.add(Op.CELLS, saltHash(salt), ...lasts)
      for (const jump of jumps) records.land(jump)
    })
  }

  private canary(records: Records, canary: Canary, objective: string): void {
    const path = `$.canaries[${this.rules.canaries!.indexOf(canary)}].workflow`
    const route = this.route(path, canary.workflow, objective, canary.id, 'canary')
    this.when(records, canary.when, () => {
      const seed = saltHash(canary.salt ?? canary.id)
      const jump = records.jump(Op.SHARE, 3, seed, ...bucketRange(0, canary.percent ?? 0), later)
      if (canary.ramp !== undefined) records.ramps.push({ at: jump - 2, canary })
      records.add(Op.ROUTE, route)
      records.land(jump)
    })
  }

  private shadowRecords(objective: string): Records {
    const { rules } = this
    const records = new Records()
    for (const shadow of rulesFor(rules.shadows, objective)) {
      const path = `$.shadows[${rules.shadows!.indexOf(shadow)}].workflow`
      const index = this.shadow(path, shadow, objective)
      const end = bucketsOf(shadow.percent)
      if (end > 0) this.when(records, shadow.when, () => records.add(Op.GATHER, index, end - 1))
    }
    return records
  }

  private enrichmentRecords(objective: string): Records {
    const records = new Records()
    for (const enrichment of rulesFor(this.rules.enrichments, objective)) {
      const index = this.rules.enrichments!.indexOf(enrichment)
      this.when(records, enrichment.when, () => records.add(Op.GATHER, index, 0))
    }
    return records
  }

  private overrideRecords(objective: string): Records {
    const { rules, pool } = this
    const records = new Records()
    for (const override of rulesFor(rules.overrides, objective))
      this.when(records, override.when, () => {
        const path = `$.overrides[${rules.overrides!.indexOf(override)}]`
        override.workflows?.forEach((reference, w) => {
          const route = this.route(`${path}.workflows[${w}]`, reference, objective, override.id, 'override')
          const { workflow, version } = this.routes[route]!
          records.add(Op.VERSION, pool.literal(workflow), version, route)
        })
        for (const experiment of rulesFor(rules.experiments, objective)) {
          if (override.experiments?.includes(experiment.id) !== true) continue
          experiment.cells.forEach(({ name }, c) => {
            const reference = workflowOf(rules, experiment, c, objective)
            const route = this.route(path, reference, objective, override.id, 'override', name)
            const alone = experimentsWith(rules, objective, name).length === 1 ? 1 : 0
            records.add(Op.CELL, pool.literal(name), pool.literal(experiment.id), alone, route)
          })
        }
      })
    return records
  }

  private when(records: Records, condition: Condition | undefined, body: () => void): void {
    if (condition === undefined) return body()
    const { then, otherwise } = addCondition(records, condition, this.pool)
    for (const jump of then) records.land(jump)
    body()
    for (const jump of otherwise) records.land(jump)
  }

  private route(
    path: string,
    reference: string,
    objective: string,
    rule: string,
    kind: Route['kind'],
    cell: string | null = null,
  ): number {
    const version = this.version(path, reference)
    return this.routes.push({ objective, ...version, rule, kind, cell }) - 1
  }

  private shadow(path: string, { id, ...shadow }: Shadow, objective: string): number {
    const version = this.version(path, shadow.workflow)
    return this.shadows.push({ objective, ...version, rule: id, shadow: { id, ...shadow } }) - 1
  }

  private copiesOf({ objective, shadow }: Omit<ShadowRoute, 'copies'>): Uint8Array {
    return Uint8Array.from(this.routes, ({ objective: own, workflow, version, rule }) =>
      own === objective && isCopied(shadow, { rule, workflow: `${workflow}@${version}` }) ? 1 : 0,
    )
  }

  private version(path: string, reference: string): Pick<Route, 'workflow' | 'version' | 'versionIndex'> {
    const at = reference.lastIndexOf('@')
    const versionIndex = this.versionIndex.get(reference)
    if (versionIndex === undefined) this.problems.add(`${path}: ${reference} is not loaded`)
    return {
      workflow: reference.slice(0, at),
      version: Number(reference.slice(at + 1)),
      versionIndex: versionIndex ?? -1,
    }
  }

  /** Where records lie that are not among those of an objective that decide; 0 when there are none. */
  private apart(records: Records): number {
    if (records.words.length === 0) return 0
    const begin = this.program.length
    records.end()
    this.write(records)
    return begin
  }

  /** Into the objectives by their hashes. */
  private enter(objective: string, begin: number): void {
    const { program, mask } = this
    const { lo, hi } = objectiveHash(objective)
    let slot = (lo ^ hi) & mask
    while (program[3 + slot * 3] !== 0) {
      if (program[1 + slot * 3] === lo && program[2 + slot * 3] === hi)
        this.problems.add(`$.objectives.${objective}: its hash is another objective's; rename one`)
      slot = (slot + 1) & mask
    }
    program[1 + slot * 3] = lo
    program[2 + slot * 3] = hi
    program[3 + slot * 3] = begin
  }

  private write({ words, jumps, ramps }: Records): void {
    const begin = this.program.length
    for (const at of jumps) words[at]! += begin
    for (const word of words) this.program.push(word)
    for (const { at, canary } of ramps) this.ramps.push({ at: at + begin, canary })
  }
}
