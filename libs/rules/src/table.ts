import { noCells, NoCell, type AskedExperiment, type CellSource } from './cells'
import { afterTest, bind, equals, isText } from './match'
import { murmur3Words } from './murmur3-words'
import { firstTest, Head, Op } from './program'
import type { Ramp } from './ramp'
import type { Enrichment, Rules, Shadow } from './rules'

export interface Route {
  readonly objective: string
  readonly workflow: string
  readonly version: number
  /** Into the versions that the rules were compiled with. */
  readonly versionIndex: number
  /** `default`, or the id of the rule. */
  readonly rule: string
  readonly kind: 'override' | 'condition' | 'experiment' | 'canary' | 'default'
  readonly cell: string | null
}

/** Where copies of an objective's requests go. */
export interface ShadowRoute {
  readonly objective: string
  readonly workflow: string
  readonly version: number
  readonly versionIndex: number
  readonly rule: string
  readonly shadow: Shadow
  /** By route: 1 when it copies what that one answers. */
  readonly copies: Uint8Array
}

/** Rules, compiled: see `program.ts` for the layout. */
export interface Table {
  readonly version: number
  /** What it was compiled from. */
  readonly rules: Rules
  readonly objectives: readonly string[]
  readonly routes: readonly Route[]
  readonly shadows: readonly ShadowRoute[]
  readonly enrichments: readonly Enrichment[]
  readonly ramps: readonly Ramp[]
  /** Experiments whose cells another platform says. */
  readonly asked: readonly AskedExperiment[]
  /** Where the attributes lie in the program; 0 when no condition asks for one. */
  readonly attributesAt: number
  /** How many attributes conditions ask for. */
  readonly slots: number
  readonly numbers: Float64Array
  readonly program: Int32Array
}

/**
 * A request as the table sees it: positions in the little-endian words of its message. Texts begin at multiples of
 * four; positions and lengths are bytes. `RequestView` of @millrace/wire is one.
 */
export interface Ask {
  readonly objectiveLo: number
  readonly objectiveHi: number
  readonly subjectWords: Uint32Array
  readonly subjectBegin: number
  /** 0: the request has no subject. */
  readonly subjectLength: number
  readonly words: Uint32Array
  /** What it asks for against the rules: 0 nothing, 1 a version, 2 a cell. */
  readonly overrideKind: number
  /** The name of the version's workflow, or of the cell. */
  readonly overrideBegin: number
  readonly overrideLength: number
  readonly overrideVersion: number
  /** Of the cell; a length of 0: it does not say. */
  readonly overrideExperimentBegin: number
  readonly overrideExperimentLength: number
  readonly contextCount: number
  readonly contextNameBegin: Int32Array
  readonly contextNameLength: Int32Array
  /** As on the wire: 0 text, 1 number, 2 truth. */
  readonly contextKind: Uint8Array
  readonly contextTextBegin: Int32Array
  readonly contextTextLength: Int32Array
  readonly contextNumber: Float64Array
}

/** What `lookUp` says where no route decides. */
export const NoRoute = {
  /** The objective is not known. */
  UNKNOWN: -1,
  /** The request asks for a version or a cell that it may not have: `explain` says why. */
  REFUSED: -2,
  /** Another platform has to say the subject's cell first: ask it, then look up again. */
  WAITS: -3,
} as const

/**
 * The index of the route that decides, or one of `NoRoute`. Allocates nothing.
 *
 * @param cells asked for experiments that have an allocator; unless given, those are decided by their default cells
 */
export function lookUp(table: Table, ask: Ask, cells: CellSource = noCells): number {
  const { program } = table
  const begin = find(program, ask.objectiveLo, ask.objectiveHi)
  if (begin === 0) return NoRoute.UNKNOWN
  if (ask.overrideKind !== 0) return overridden(table, ask, program[begin + Head.OVERRIDES]!)
  if (program[begin + Head.CONTEXT] === 1) bind(table, ask)
  return run(table, ask, begin + Head.WORDS, cells)
}

/** The name of what is asked for, which a request may have by its hash alone; null when it is not known. */
export function objectiveOf(table: Table, ask: Ask): string | null {
  const begin = find(table.program, ask.objectiveLo, ask.objectiveHi)
  return begin === 0 ? null : table.objectives[table.program[begin + Head.OBJECTIVE]!]!
}

/**
 * The shadows that a request is copied to.
 *
 * @param route what answers it
 * @param draw uniform in 0 .. 2^32 - 1, drawn anew for each request
 * @param into gets indices into `table.shadows`; as long as that is
 * @returns how many
 */
export function lookUpShadows(table: Table, ask: Ask, route: number, draw: number, into: Int32Array): number {
  const holding = gather(table, ask, Head.SHADOWS, draw, into)
  let count = 0
  for (let i = 0; i < holding; i++) if (table.shadows[into[i]!]!.copies[route] === 1) into[count++] = into[i]!
  return count
}

/**
 * The enrichments of a request, in their order: of several that set an attribute the first counts.
 *
 * @param into gets indices into `table.enrichments`
 * @returns how many; no more than `into` takes
 */
export function lookUpEnrichments(table: Table, ask: Ask, into: Int32Array): number {
  return gather(table, ask, Head.ENRICHMENTS, 0, into)
}

/** Those of a list of the objective, `head`, whose conditions hold. */
function gather(table: Table, ask: Ask, head: number, draw: number, into: Int32Array): number {
  const { program } = table
  const begin = find(program, ask.objectiveLo, ask.objectiveHi)
  if (begin === 0 || program[begin + head] === 0) return 0
  if (table.attributesAt > 0) bind(table, ask)
  let count = 0
  let at = program[begin + head]!
  while (program[at] !== Op.END && count < into.length) {
    if (program[at]! >= firstTest) at = afterTest(table, ask, at)
    else {
      if (draw <= program[at + 3]! >>> 0) into[count++] = program[at + 2]!
      at += program[at + 1]!
    }
  }
  return count
}

/** The route of the first override that allows what is asked for. */
function overridden(table: Table, ask: Ask, begin: number): number {
  if (begin === 0) return NoRoute.REFUSED
  if (table.attributesAt > 0) bind(table, ask)
  const { program } = table
  const { words, overrideBegin, overrideLength, overrideExperimentBegin, overrideExperimentLength } = ask
  for (let at = begin; program[at] !== Op.END; ) {
    const next = at + program[at + 1]!
    const op = program[at]
    if (op! >= firstTest) {
      at = afterTest(table, ask, at)
      continue
    }
    if (op === Op.VERSION) {
      const asked = ask.overrideKind === 1 && program[at + 3] === (ask.overrideVersion | 0)
      if (asked && equals(program, program[at + 2]!, words, overrideBegin, overrideLength)) return program[at + 4]!
    } else if (ask.overrideKind === 2 && equals(program, program[at + 2]!, words, overrideBegin, overrideLength)) {
      const isIt =
        overrideExperimentLength === 0
          ? program[at + 4] === 1
          : equals(program, program[at + 3]!, words, overrideExperimentBegin, overrideExperimentLength)
      if (isIt) return program[at + 5]!
    }
    at = next
  }
  return NoRoute.REFUSED
}

/** Runs an objective's records until one decides. */
function run(table: Table, ask: Ask, begin: number, cells: CellSource): number {
  const { program } = table
  const { subjectWords, subjectBegin, subjectLength } = ask
  // Experiments of a group ask for one bucket, each for its own part.
  let seed = 0
  let bucket = 0
  let drawn = false
  for (let at = begin; ; ) {
    const op = program[at]!
    if (op >= firstTest) {
      at = afterTest(table, ask, at)
      continue
    }
    const next = at + program[at + 1]!
    switch (op) {
      case Op.ROUTE:
        return program[at + 2]!
      case Op.CELLS:
      case Op.SHARE:
      case Op.HELD: {
        if (subjectLength > 0 && !(drawn && seed === program[at + 2])) {
          drawn = true
          seed = program[at + 2]!
          bucket = murmur3Words(subjectWords, subjectBegin, subjectLength, seed)
        }
        if (op === Op.CELLS) {
          if (subjectLength > 0) return cellOf(program, at + 3, bucket)
          at = next
          break
        }
        const inside = subjectLength > 0 && bucket >= program[at + 3]! >>> 0 && bucket <= program[at + 4]! >>> 0
        at = inside === (op === Op.SHARE) ? next : program[at + 5]!
        break
      }
      case Op.GIVEN: {
        const route = givenCell(program, at, next, ask)
        if (route >= 0) return route
        at = next
        break
      }
      case Op.ASKED: {
        if (subjectLength > 0) {
          const { experiment, routes } = table.asked[program[at + 2]!]!
          const cell = cells.cellOf(experiment, ask)
          if (cell === NoCell.UNKNOWN) return NoRoute.WAITS
          if (cell !== NoCell.NONE) return (cell === NoCell.FAILED ? undefined : routes.get(cell)) ?? program[at + 3]!
        }
        at = next
        break
      }
    }
  }
}

/** Where an objective's records begin, or 0. */
function find(program: Int32Array, lo: number, hi: number): number {
  const mask = program[0]!
  for (let slot = (lo ^ hi) & mask; ; slot = (slot + 1) & mask) {
    const at = 1 + slot * 3
    if (program[at + 2] === 0) return 0
    if (program[at] === (lo | 0) && program[at + 1] === (hi | 0)) return program[at + 2]!
  }
}

/** The last cell ends at 2^32 - 1, so that there is always one. */
function cellOf(program: Int32Array, cells: number, bucket: number): number {
  let at = cells
  while (bucket > program[at]! >>> 0) at += 2
  return program[at + 1]!
}

/** The route of the cell that an attribute names; -1 when the request does not have the attribute. */
function givenCell(program: Int32Array, at: number, end: number, ask: Ask): number {
  const slot = program[at + 2]!
  if (!isText(ask, slot)) return -1
  for (let cell = at + 4; cell < end; cell += 2)
    if (isText(ask, slot, program, program[cell])) return program[cell + 1]!
  return program[at + 3]!
}
