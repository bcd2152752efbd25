import { attributeFault, type AttributeKind, type AttributeSpec, type AttributeValue } from '@millrace/base'
import { copyBytes } from './copy-bytes'
import type { Matched } from './intake'
import type { RequestView } from './request-view'

/** A value that stands for an attribute of a request, as it is copied: a declared default, or what rules add. */
export interface StandIn {
  readonly number: number
  readonly textLength: number
  /** UTF-8, filled with zeros to whole words. */
  readonly textWords: Uint32Array
}

const encoder = new TextEncoder()

export function standIn(value: AttributeValue): StandIn {
  const bytes = encoder.encode(typeof value === 'string' ? value : '')
  const padded = new Uint8Array((bytes.length + 3) & ~3)
  padded.set(bytes)
  const number = typeof value === 'string' ? 0 : Number(value)
  return { number, textLength: bytes.length, textWords: new Uint32Array(padded.buffer) }
}

/** What of a context one workflow version reads; made once, when it is mapped. */
export interface ContextIntake {
  readonly specs: readonly AttributeSpec[]
  readonly count: number
  readonly names: readonly Buffer[]
  /** As on the wire. */
  readonly kind: Uint8Array
  /** By attribute; null: a request without it is refused. */
  readonly missing: readonly (StandIn | null)[]
  /** Which of them is the traffic class; -1: none. */
  readonly trafficAt: number
}

const kinds: readonly AttributeKind[] = ['text', 'number', 'truth']

export function contextIntakeOf(specs: readonly AttributeSpec[]): ContextIntake | null {
  if (specs.length === 0) return null
  return {
    specs,
    count: specs.length,
    names: specs.map(({ name }) => Buffer.from(name, 'utf8')),
    kind: Uint8Array.from(specs, ({ kind }) => kinds.indexOf(kind)),
    missing: specs.map(({ missing }) => (missing === null ? null : standIn(missing))),
    trafficAt: specs.findIndex(({ name }) => name === 'traffic'),
  }
}

/**
 * Finds the attributes that a version reads in a verified request that `matchInputs` took. What `out.standIn` holds
 * counts before what the request says, and that before what the workflow declares.
 *
 * @returns false with `out.fault` saying which attribute is missing, or came as what
 */
export function matchContext(view: RequestView, intake: ContextIntake, out: Matched): boolean {
  let bytes = 0
  for (let a = 0; a < intake.count; a++) {
    let value = out.standIn[a]!
    const i = value === null ? find(view, intake.names[a]!) : -1
    if (i >= 0 && view.contextKind[i] !== intake.kind[a]) {
      out.fault = attributeFault(intake.specs[a]!, kinds[view.contextKind[i]!]!)
      return false
    }
    if (i < 0 && value === null) {
      value = intake.missing[a]!
      if (value === null) {
        out.fault = attributeFault(intake.specs[a]!, null)
        return false
      }
      out.standIn[a] = value
    }
    out.attribute[a] = i
    if (intake.kind[a] === 0) bytes += ((i < 0 ? value!.textLength : view.contextTextLength[i]!) + 7) & ~7
  }
  out.contextBytes = bytes
  out.heapBytes += bytes
  return true
}

/** Of attributes with the same name the last one counts, as in the rules. */
function find(view: RequestView, name: Buffer): number {
  const { words } = view
  for (let i = view.contextCount - 1; i >= 0; i--) {
    if (view.contextNameLength[i] !== name.length) continue
    const begin = view.contextNameBegin[i]!
    let b = 0
    while (b < name.length && ((words[(begin + b) >>> 2]! >>> (((begin + b) & 3) * 8)) & 0xff) === name[b]!) b++
    if (b === name.length) return i
  }
  return -1
}

const double = new Float64Array(1)
const doubleWords = new Uint32Array(double.buffer)

/**
 * Copies the attributes of a matched request into a slab.
 *
 * @param places by attribute that is read: the slab's begin of its column, bytes in `memory`
 * @param request where in the slab the values go
 * @param heap, heapUsed the slab's heap: its begin in `memory`, and how much of it is used
 * @returns heapUsed after it
 */
export function copyContext(
  view: RequestView,
  intake: ContextIntake,
  matched: Matched,
  memory: Uint8Array,
  memoryWords: Uint32Array,
  slab: number,
  places: Int32Array,
  request: number,
  heap: number,
  heapUsed: number,
): number {
  for (let a = 0; a < intake.count; a++) {
    const i = matched.attribute[a]!
    const value = matched.standIn[a]!
    const place = slab + places[a]!
    if (intake.kind[a] === 0) {
      const length = i < 0 ? value!.textLength : view.contextTextLength[i]!
      const span = (place >>> 2) + 2 * request
      memoryWords[span] = heapUsed
      memoryWords[span + 1] = length
      // Whole words: what follows a text in its last word lies inside the message, and its place is padded to 8.
      if (i >= 0) copyBytes(view, view.contextTextBegin[i]!, (length + 3) & ~3, memory, memoryWords, heap + heapUsed)
      else memoryWords.set(value!.textWords, (heap + heapUsed) >>> 2)
      heapUsed = (heapUsed + length + 7) & ~7
      continue
    }
    const number = i < 0 ? value!.number : view.contextNumber[i]!
    if (intake.kind[a] === 2) memory[place + request] = number === 0 ? 0 : 1
    else {
      double[0] = number
      memoryWords[(place >>> 2) + 2 * request] = doubleWords[0]!
      memoryWords[(place >>> 2) + 2 * request + 1] = doubleWords[1]!
    }
  }
  return heapUsed
}
