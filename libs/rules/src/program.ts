/*
 * Rules as integers, in one Int32Array.
 *
 *   [mask] [lo hi begin]...     objectives, open addressing by (lo ^ hi) & mask; begin 0 is an empty slot
 *   [mask] [hash literal slot kind bytes first last]...
 *                               attributes that conditions ask for, by hash & mask, each with its first and its last
 *                               word; literal 0 is empty
 *   [objective context shadows enrichments overrides] records
 *                               of one objective: its place in the file; 1 when a record that decides asks for an
 *                               attribute; where the records of its shadows, enrichments and overrides begin, or 0
 *   [bytes words...]            literals: UTF-8 in little-endian words, the last one filled with zeros
 *   [mask] [hash literal]...    sets of texts, by hash & mask; literal 0 is empty
 *   [count] [bytes word literal]...
 *                               lists of few texts, each with its first word
 *
 * A record is [opcode, length, ...]; jumps are positions in the program. Hashes are MurmurHash3 x86 32, of attributes
 * `nameHash`. A range of buckets is its first and its last, unsigned; the empty one is 1 to 0, so that a ramp can change
 * a range in place.
 */

export const Op = {
  END: 0,
  /** [route]: decides. */
  ROUTE: 1,
  /** [seed, (last bucket of the cell, route)...]: the subject's cell decides. */
  CELLS: 2,
  /** [seed, first, last, else]: goes on with subjects whose bucket is in the range. */
  SHARE: 3,
  /** [seed, first, last, then]: jumps with subjects whose bucket is in the range. */
  HELD: 4,
  /** [slot, default route, (literal, route)...]: an attribute that is there names the cell, which decides. */
  GIVEN: 5,
  /** [index, default route]: the cell that another platform says of the subject decides, unless it takes no part. */
  ASKED: 6,
  /** [index, last draw]: a shadow or an enrichment, for requests whose draw is not above it. */
  GATHER: 7,
  /** [workflow, version, route]: decides where this version is asked for; the workflow is a literal. */
  VERSION: 8,
  /** [cell, experiment, alone, route]: decides where this cell is asked for; `alone`: 1 when its name says which. */
  CELL: 9,
  /*
   * Tests of an attribute, [slot, value, then, else]: a jump where it holds, and one where it does not or is not there.
   * A condition is tests that jump to each other.
   */
  /** value: a list of few texts. */
  TEXT_IN: 10,
  /** value: a set of texts. */
  TEXT_IN_MANY: 11,
  /** value: where the table's numbers say how many, and then which. */
  NUMBER_IN: 12,
  /** value: the table's number there or more, and less than the one after. */
  RANGE: 13,
  /** value: 0 or 1. */
  TRUTH: 14,
  PRESENT: 15,
} as const

/** The first of the tests, which come last. */
export const firstTest = Op.TEXT_IN

/** Words of an objective before its records that decide, by their place. */
export const Head = { OBJECTIVE: 0, CONTEXT: 1, SHADOWS: 2, ENRICHMENTS: 3, OVERRIDES: 4, WORDS: 5 } as const

/** Seed of the hashes of texts; any would do. */
export const textSeed = 0x74657874

/** Attributes that the conditions of one file may ask for. */
export const slotsMax = 64

/** Texts that are looked through one by one: more of them are a set. */
export const fewTexts = 4
