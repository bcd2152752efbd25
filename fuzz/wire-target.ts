import { strict as assert } from 'node:assert'
import { layoutSlab, type Layout } from '@millrace/batch'
import {
  copyContext,
  copyInputs,
  describeFault,
  heapBytesOf,
  intakeOf,
  ListView,
  Matched,
  matchContext,
  matchInputs,
  RequestView,
  verifyList,
  verifyRequest,
  type Intake,
} from '@millrace/wire'
import { anatomyOf } from './anatomy'
import { Neighbourhood, ones, smallNumbers, type Placed } from './place'
import { objectives, type Objective, type Signatures } from './requests'
import { CaseError, Cases, count, messageBytesMax, type Outcomes, type Target } from './target'

/** What the copy is tried with; requests with more are matched alone. */
const rowsMax = 64
const heapBytesMax = 2 * messageBytesMax
/** Where in the slab they go: not at its begin, which others have. */
const [row, request] = [3, 2]
const canary = 0xcd

/**
 * Verify, read, match, copy: each message twice, in memory that differs around it. Nothing may depend on that, no position
 * lie outside the message, no copy write beside its places.
 */
export class WireTarget implements Target {
  private readonly cases: Cases
  private readonly workflows: Readonly<Record<Objective, { readonly intake: Intake; readonly layout: Layout }>>
  private readonly sides = [new Side(ones), new Side(smallNumbers)] as const

  constructor(signatures: Signatures) {
    this.cases = new Cases(signatures)
    this.workflows = Object.fromEntries(
      objectives.map((name) => [
        name,
        { intake: intakeOf(signatures[name]), layout: layoutSlab(signatures[name], rowsMax) },
      ]),
    ) as unknown as typeof this.workflows
  }

  run(seed: number, block: number, outcomes: Outcomes): Promise<void> {
    for (const { n, bytes, objective, isWhole, random } of this.cases.of(seed, block)) {
      try {
        const outcome = this.try(bytes, objective, 4 * random.below(4))
        if (isWhole) assert(outcome === 'copied' || outcome === 'list', `a right message: ${outcome}`)
        count(outcomes, outcome)
      } catch (error) {
        return Promise.reject(new CaseError(n, bytes.slice(), error))
      }
    }
    return Promise.resolve()
  }

  tryFile(bytes: Uint8Array): Promise<void> {
    for (const objective of objectives) this.try(bytes, objective, 0)
    return Promise.resolve()
  }

  close(): void {
    // Holds nothing.
  }

  private try(bytes: Uint8Array, objective: Objective, shift: number): string {
    const { intake, layout } = this.workflows[objective]
    const [one, other] = this.sides
    const outcome = one.try(bytes, shift, intake, layout)
    other.try(bytes, shift, intake, layout)
    // Read by the format alone, what was taken reaches nowhere else either.
    if (one.taken) anatomyOf(bytes)
    const told = one.told()
    assert(
      told.equals(other.told()) && one.fault === other.fault,
      `depends on its neighbours: ${one.fault}; ${other.fault}`,
    )
    return outcome
  }
}

/** One of the two surroundings, and what was seen in it. */
class Side {
  fault = ''
  /** It was one request, and verified. */
  taken = false
  private readonly around: Neighbourhood
  private readonly view = new RequestView()
  private readonly list = new ListView()
  private readonly matched = new Matched()
  private readonly memory = new Uint8Array(heapBytesMax + 2 ** 17)
  private readonly words = new Uint32Array(this.memory.buffer)
  private readonly numbers = new Float64Array(16_384)
  private readonly numberBytes = Buffer.from(this.numbers.buffer)
  private readonly memoryBytes = Buffer.from(this.memory.buffer)
  private count = 0
  private slabEnd = 0

  constructor(pattern: Uint8Array) {
    this.around = new Neighbourhood(messageBytesMax, pattern)
  }

  /** All numbers and bytes that came of the message. */
  told(): Buffer {
    const numbers = this.numberBytes.subarray(0, 8 * this.count)
    return this.slabEnd === 0 ? numbers : Buffer.concat([numbers, this.memoryBytes.subarray(0, this.slabEnd)])
  }

  try(bytes: Uint8Array, shift: number, intake: Intake, layout: Layout): string {
    this.count = this.slabEnd = 0
    this.fault = ''
    this.taken = false
    const placed = this.around.place(bytes, shift)
    const outcome = this.request(placed, intake, layout)
    this.around.restore(placed)
    return outcome
  }

  private request({ buffer, base, length }: Placed, intake: Intake, layout: Layout): string {
    const { view, matched } = this
    if (!verifyRequest(buffer, base, length, view)) {
      if (view.isList) return this.items({ buffer, base, length })
      this.fault = describeFault(view)
      return 'malformed'
    }
    this.taken = true
    this.tell(length)
    if (!matchInputs(view, intake, matched)) {
      this.fault = matched.fault
      return 'not matched'
    }
    matched.standIn.fill(null)
    if (intake.context !== null) {
      const { trafficAt } = intake.context
      if (trafficAt >= 0) matched.standIn[trafficAt] = noTraffic
      if (!matchContext(view, intake.context, matched)) {
        this.fault = matched.fault
        return 'context not matched'
      }
    }
    const { rows } = matched
    const heapBytes = heapBytesOf(view, intake, matched, 0, rows)
    assert.equal(heapBytes, matched.heapBytes)
    if (rows > rowsMax - row || heapBytes > heapBytesMax) return 'large'
    this.copy(intake, layout, rows, heapBytes)
    return 'copied'
  }

  private copy(intake: Intake, layout: Layout, rows: number, heapBytes: number): void {
    const { view, matched, memory, words } = this
    const end = layout.heap + 8 + heapBytes
    memory.fill(canary, 0, end + 64)
    const heap = layout.heap
    let used = copyInputs(view, intake, matched, memory, words, 0, layout.inputs, 0, rows, row, request, heap, 8)
    const { context } = intake
    if (context !== null)
      used = copyContext(view, context, matched, memory, words, 0, layout.context, request, heap, used)
    assert.equal(used, 8 + heapBytes)
    for (let at = 0; at < layout.inputs[0]!; at++) if (memory[at] !== canary) throw new Error(`wrote at ${at}`)
    for (let at = end; at < end + 64; at++) if (memory[at] !== canary) throw new Error(`wrote at ${at}, behind`)
    for (let at = heap; at < heap + 8; at++) if (memory[at] !== canary) throw new Error(`wrote at ${at}, another's`)
    this.slabEnd = end
  }

  private items({ buffer, base, length }: Placed): string {
    const { list, numbers, view } = this
    if (!verifyList(buffer, base, length, 10_000, list)) {
      this.fault = list.fault
      return 'malformed list'
    }
    for (let i = 0; i < list.count && this.count < 8000; i++) {
      this.inside(list.begin[i]!, list.length[i]!, length)
      numbers[this.count++] = list.begin[i]!
      numbers[this.count++] = list.length[i]!
      const good = verifyRequest(buffer, base + list.begin[i]!, list.length[i]!, view)
      numbers[this.count++] = good ? 1 : 0
      if (good) this.tell(list.length[i]!)
    }
    return 'list'
  }

  /** Every number of the view; each position with its length lies in the message. */
  private tell(length: number): void {
    const { view, numbers } = this
    let n = this.count
    numbers[n++] = view.idLo
    numbers[n++] = view.idHi
    numbers[n++] = view.objectiveLo
    numbers[n++] = view.objectiveHi
    numbers[n++] = view.subjectIsNumber
    numbers[n++] = view.subjectNumberLo
    numbers[n++] = view.subjectNumberHi
    numbers[n++] = view.deadlineUs
    numbers[n++] = view.priority
    numbers[n++] = view.flags
    numbers[n++] = view.traffic
    numbers[n++] = view.overrideKind
    const span = (begin: number, bytes: number): void => {
      this.inside(begin, bytes, length)
      numbers[n++] = begin
      numbers[n++] = bytes
    }
    span(view.objectiveBegin, view.objectiveLength)
    span(view.subjectBegin, view.subjectLength)
    span(view.decisionBegin, view.decisionLength)
    if (view.tenantLength > 0) span(view.tenantBegin, view.tenantLength)
    if (view.overrideKind > 0) {
      span(view.overrideBegin, view.overrideLength)
      span(view.overrideExperimentBegin, view.overrideExperimentLength)
      numbers[n++] = view.overrideVersion
    }
    for (let i = 0; i < view.contextCount; i++) {
      span(view.contextNameBegin[i]!, view.contextNameLength[i]!)
      span(view.contextTextBegin[i]!, view.contextTextLength[i]!)
      numbers[n++] = view.contextKind[i]!
      numbers[n++] = view.contextNumber[i]!
    }
    for (let i = 0; i < view.inputCount; i++) {
      span(view.nameBegin[i]!, view.nameLength[i]!)
      span(view.shapeBegin[i]!, 4 * view.shapeLength[i]!)
      span(view.dataBegin[i]!, view.dataLength[i]!)
      span(view.offsetsBegin[i]!, 4 * view.offsetsLength[i]!)
      numbers[n++] = view.dtype[i]!
    }
    this.count = n
  }

  private inside(begin: number, bytes: number, length: number): void {
    if (!(begin >= 0 && bytes >= 0 && begin + bytes <= length))
      throw new Error(`${bytes} bytes at ${begin} of ${length}`)
  }
}

/** Stands in for what the server says. */
const noTraffic = { number: 0, textLength: 4, textWords: Uint32Array.of(0x6c616572) }
