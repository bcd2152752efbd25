import { encodeRequestList } from '@millrace/wire'
import { anatomyOf, listJoints } from './anatomy'
import { Mutant, type Sample } from './mutant'
import { Random } from './random'
import { validRequest, type Objective, type Signatures } from './requests'

/** Cases that share the requests that they are made of, and are tried together. */
export const blockCases = 1024
/** Requests that a block is made of. */
const samplesPerBlock = 48
const listsPerBlock = 8
/** A broken message is at most so long, and room for a list of as many requests as lists have. */
export const messageBytesMax = 64 * 1024
const listItemsMax = 4
const requestBytesMax = messageBytesMax / listItemsMax - 256

/** What was tried, by what came of it. */
export type Outcomes = Map<string, number>

export interface Target {
  /** Tries the cases of one block. Rejects with a `CaseError`. */
  run(seed: number, block: number, outcomes: Outcomes): Promise<void>
  /** Tries one message that somebody kept. */
  tryFile(bytes: Uint8Array): Promise<void>
  close(): void
}

/** A case that did not go as it must, with all that is needed to see it again. */
export class CaseError extends Error {
  constructor(
    readonly caseNumber: number,
    readonly bytes: Uint8Array,
    cause: unknown,
  ) {
    super(cause instanceof Error ? (cause.stack ?? cause.message) : String(cause))
    this.name = 'CaseError'
  }
}

export function count(outcomes: Outcomes, what: string): void {
  outcomes.set(what, (outcomes.get(what) ?? 0) + 1)
}

/** One message to try. */
export interface Case {
  readonly n: number
  readonly bytes: Uint8Array
  /** What it was made of, and whether it still is just that. */
  readonly objective: Objective
  readonly isList: boolean
  readonly isWhole: boolean
  /** The stream of this case goes on. */
  readonly random: Random
}

interface BlockSample extends Sample {
  readonly objective: Objective
  readonly isList: boolean
}

/** The messages of a block, each in memory that the next one takes. */
export class Cases {
  private readonly random = new Random()
  private readonly mutant = new Mutant(messageBytesMax, this.random)

  constructor(
    private readonly signatures: Signatures,
    /** A signed decision, for some of the requests. */
    private readonly decision: Uint8Array | null = null,
  ) {}

  *of(seed: number, block: number): Generator<Case> {
    const { random, mutant } = this
    const samples = this.samples(seed, block)
    for (let n = block * blockCases; n < (block + 1) * blockCases; n++) {
      random.begin(seed, n)
      const sample = random.pick(samples)
      const times = random.below(5)
      mutant.become(sample, random.pick(samples), times)
      const { objective, isList } = sample
      yield { n, bytes: mutant.bytes.subarray(0, mutant.length), objective, isList, isWhole: times === 0, random }
    }
  }

  private samples(seed: number, block: number): BlockSample[] {
    const random = this.random.begin(~seed, block)
    const singles = Array.from({ length: samplesPerBlock }, () => {
      const { objective, message } = validRequest(this.signatures, random, this.decision, requestBytesMax)
      return { objective, isList: false, bytes: message, anatomy: anatomyOf(message) }
    })
    const lists = Array.from({ length: listsPerBlock }, () => {
      const items = Array.from({ length: random.below(listItemsMax + 1) }, () => random.pick(singles))
      const bytes = encodeRequestList(items.map((item) => item.bytes))
      const joints = listJoints(
        bytes,
        items.map(({ anatomy }) => anatomy),
      )
      return { objective: items[0]?.objective ?? ('numbers' as const), isList: true, bytes, joints }
    })
    return [...singles.map(({ anatomy, ...single }) => ({ ...single, joints: anatomy.joints })), ...lists]
  }
}
