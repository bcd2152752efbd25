import { objectiveHash, saltHash, thresholds } from './allocate'
import { murmur3Words } from './murmur3-words'
import { RulesError, type Rules } from './rules'

export interface Route {
  objective: string
  workflow: string
  version: number
  /** Into the versions that the rules were compiled with. */
  versionIndex: number
  /** `default` or the id of an experiment. */
  rule: string
  cell: string | null
}

/**
 * Rules as integers.
 *
 *   program: [mask] [lo hi offset]... [opcode length ...]... END  [opcode length ...]... END
 *                   open addressing    records of one objective
 *
 * A slot whose offset is 0 is empty. An opcode that is not known is stepped over by its length.
 */
export interface Table {
  version: number
  objectives: string[]
  routes: Route[]
  program: Int32Array
}

const END = 0
/** [DEFAULT, 3, route] */
const DEFAULT = 1
/** [EXPERIMENT, length, salt hash, (last hash of the cell, route)...] */
const EXPERIMENT = 2

/** Throws `RulesError` with every workflow version that is not among `versions`. */
export function compileRules(
  rules: Rules,
  versions: readonly { name: string; version: number }[],
  rulesVersion: number,
): Table {
  const problems: string[] = []
  const routes: Route[] = []
  const byName = new Map(versions.map((one, index) => [`${one.name}@${one.version}`, index]))
  const route = (path: string, reference: string, objective: string, rule: string, cell: string | null): number => {
    const split = reference.lastIndexOf('@')
    const workflow = reference.slice(0, split)
    const version = Number(reference.slice(split + 1))
    const versionIndex = byName.get(`${workflow}@${version}`)
    if (versionIndex === undefined) problems.push(`${path}: ${reference} is not loaded`)
    return routes.push({ objective, workflow, version, versionIndex: versionIndex ?? -1, rule, cell }) - 1
  }

  const objectives = Object.keys(rules.objectives)
  const capacity = 2 ** Math.ceil(Math.log2(objectives.length * 2 + 1))
  const program = new Array<number>(1 + capacity * 3).fill(0)
  program[0] = capacity - 1
  for (const objective of objectives) {
    const { lo, hi } = objectiveHash(objective)
    let slot = (lo ^ hi) & (capacity - 1)
    while (program[3 + slot * 3] !== 0) {
      if (program[1 + slot * 3] === lo && program[2 + slot * 3] === hi) {
        problems.push(`$.objectives.${objective}: its hash is another objective's`)
      }
      slot = (slot + 1) & (capacity - 1)
    }
    program.splice(1 + slot * 3, 3, lo, hi, program.length)
    for (const [e, experiment] of (rules.experiments ?? []).entries()) {
      if (!experiment.objectives.includes(objective)) continue
      const ends = thresholds(experiment.cells.map((cell) => cell.weight))
      const cells = experiment.cells.flatMap((cell, c) => {
        const path = `$.experiments[${e}].cells[${c}].workflow`
        const index = route(path, cell.workflow, objective, experiment.id, cell.name)
        // The end less one fits 32 bits; an empty cell has no last hash.
        return ends[c]! > (ends[c - 1] ?? 0) ? [ends[c]! - 1, index] : []
      })
      program.push(EXPERIMENT, 3 + cells.length, saltHash(experiment.salt ?? experiment.id), ...cells)
    }
    const path = `$.objectives.${objective}.default`
    program.push(DEFAULT, 3, route(path, rules.objectives[objective]!.default, objective, 'default', null), END)
  }
  if (problems.length > 0) throw new RulesError([...new Set(problems)])
  // Int32Array takes each number modulo 2^32.
  return { version: rulesVersion, objectives, routes, program: Int32Array.from(program) }
}

/**
 * The index of the route that decides, or -1 for an objective that is not known. Allocates nothing.
 *
 * @param subject the message as little-endian words, or null; `subjectByteBegin` is a multiple of 4
 */
export function lookUp(
  table: Table,
  objectiveLo: number,
  objectiveHi: number,
  subject: Uint32Array | null,
  subjectByteBegin: number,
  subjectByteLength: number,
): number {
  const program = table.program
  let at = find(program, objectiveLo, objectiveHi)
  if (at === 0) return -1
  for (; program[at] !== END; at += program[at + 1]!) {
    const opcode = program[at]!
    if (opcode === DEFAULT) return program[at + 2]!
    if (opcode === EXPERIMENT && subject !== null && subjectByteLength > 0) {
      return cellOf(program, at, murmur3Words(subject, subjectByteBegin, subjectByteLength, program[at + 2]!))
    }
  }
  return -1
}

/** Where the records of an objective begin, or 0. */
function find(program: Int32Array, lo: number, hi: number): number {
  const mask = program[0]!
  for (let slot = (lo ^ hi) & mask; ; slot = (slot + 1) & mask) {
    const at = 1 + slot * 3
    if (program[at + 2] === 0) return 0
    if (program[at] === (lo | 0) && program[at + 1] === (hi | 0)) return program[at + 2]!
  }
}

/** The last cell ends at 2^32 - 1, so that there is always one. */
function cellOf(program: Int32Array, record: number, hash: number): number {
  let at = record + 3
  while (hash > program[at]! >>> 0) at += 2
  return program[at + 1]!
}

export interface Explained {
  rule: string
  kind: 'default' | 'experiment'
  matched: boolean
  reason: string
  cell?: string
}

/** Each rule of an objective in the order in which it is asked, and why it decides or not; empty: no such objective. */
export function explain(
  table: Table,
  objectiveLo: number,
  objectiveHi: number,
  subject: Uint32Array | null,
  subjectByteBegin: number,
  subjectByteLength: number,
): Explained[] {
  const { program, routes } = table
  const decided = lookUp(table, objectiveLo, objectiveHi, subject, subjectByteBegin, subjectByteLength)
  const explained: Explained[] = []
  let at = find(program, objectiveLo, objectiveHi)
  for (; at !== 0 && program[at] !== END; at += program[at + 1]!) {
    if (program[at] === DEFAULT) {
      const matched = program[at + 2] === decided
      const reason = matched ? 'no rule before it decided' : 'a rule before it decided'
      explained.push({ rule: 'default', kind: 'default', matched, reason })
    } else if (program[at] === EXPERIMENT) {
      const rule = routes[program[at + 4]!]!.rule
      const cell = decided >= 0 && routes[decided]!.rule === rule ? routes[decided]!.cell : null
      if (cell === null)
        explained.push({ rule, kind: 'experiment', matched: false, reason: 'the request has no subject' })
      else explained.push({ rule, kind: 'experiment', matched: true, reason: `the subject is in cell ${cell}`, cell })
    }
  }
  return explained
}
