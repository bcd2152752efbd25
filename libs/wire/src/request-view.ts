import { columnsMax, contextMax, type AttributeValue, type Context } from '@millrace/base'
import type { OverrideMessage } from './message'

/** Dimensions that a column's shape may have, rows first. */
export const dimensionsMax = 8

/**
 * A verified request, in place: where each field lies in the message, in bytes from its begin. One object is reused
 * for every request of a thread; it holds until the next `verifyRequest` on it, and the message it points into only
 * until the socket's callback returns.
 *
 * A begin of 0 means the field is absent (0 is the message's own head, never a field).
 */
export class RequestView {
  /** The message as little-endian words. FlatBuffers strings and vectors are 4-aligned, so words serve for all. */
  words: Uint32Array = new Uint32Array(0)
  /** The buffer under `words`, for views of single columns. */
  buffer: ArrayBufferLike = this.words.buffer
  /** Where the message begins in `buffer`, bytes. */
  base = 0
  idLo = 0
  idHi = 0
  objectiveBegin = 0
  objectiveLength = 0
  objectiveLo = 0
  objectiveHi = 0
  /** Where the subject lies: the message's words, or digits that its server wrote. */
  subjectWords: Uint32Array = this.words
  subjectBegin = 0
  subjectLength = 0
  /** 1 when the subject is a number. */
  subjectIsNumber = 0
  subjectNumberLo = 0
  subjectNumberHi = 0
  deadlineUs = 0
  priority = 0
  flags = 0
  /** What is asked for against the rules: 0 nothing, 1 a version, 2 a cell. */
  overrideKind = 0
  /** The name of the version's workflow, or of the cell. */
  overrideBegin = 0
  overrideLength = 0
  overrideVersion = 0
  /** Of the cell; a length of 0: not said. */
  overrideExperimentBegin = 0
  overrideExperimentLength = 0
  /** A length of 0: it has none. */
  decisionBegin = 0
  decisionLength = 0
  /** A `Traffic`: the class that the context says, real where it says none. */
  traffic = 0
  /** What the context says; a length of 0: nothing. */
  tenantBegin = 0
  tenantLength = 0
  contextCount = 0
  readonly contextNameBegin = new Int32Array(contextMax)
  readonly contextNameLength = new Int32Array(contextMax)
  /** 0 text, 1 number, 2 truth. */
  readonly contextKind = new Uint8Array(contextMax)
  /** A begin of 0 is the empty text. */
  readonly contextTextBegin = new Int32Array(contextMax)
  readonly contextTextLength = new Int32Array(contextMax)
  /** Numbers; truths as 0 and 1. */
  readonly contextNumber = new Float64Array(contextMax)
  inputCount = 0
  readonly nameBegin = new Int32Array(columnsMax)
  readonly nameLength = new Int32Array(columnsMax)
  readonly dtype = new Int32Array(columnsMax)
  readonly shapeBegin = new Int32Array(columnsMax)
  readonly shapeLength = new Int32Array(columnsMax)
  readonly dataBegin = new Int32Array(columnsMax)
  readonly dataLength = new Int32Array(columnsMax)
  readonly offsetsBegin = new Int32Array(columnsMax)
  readonly offsetsLength = new Int32Array(columnsMax)
  /** It did not verify because it is a list of requests. */
  isList = false
  /** Why the last verification failed; see `describeFault`. */
  faultField = ''
  faultIndex = -1
  faultWhy = ''
}

/** `inputs[2].data: ends 36 bytes past the message`: what is wrong with a message that did not verify. */
export function describeFault(view: RequestView): string {
  const field = view.faultIndex >= 0 ? view.faultField.replace('[]', `[${view.faultIndex}]`) : view.faultField
  return `${field}: ${view.faultWhy}`
}

/** Text at `begin` of the message; for messages and logs, not for the road. */
export function textAt(view: RequestView, begin: number, length: number): string {
  return Buffer.from(view.buffer as ArrayBuffer, view.base + begin, length).toString('utf8')
}

/** The context in plain values; for messages and logs, not for the road. */
export function contextOf(view: RequestView): Context {
  const entries = Array.from({ length: view.contextCount }, (_, i): [string, AttributeValue] => {
    const name = textAt(view, view.contextNameBegin[i]!, view.contextNameLength[i]!)
    const number = view.contextNumber[i]!
    if (view.contextKind[i] === 0) return [name, textAt(view, view.contextTextBegin[i]!, view.contextTextLength[i]!)]
    return [name, view.contextKind[i] === 1 ? number : number !== 0]
  })
  return Object.fromEntries(entries)
}

/** What is asked for against the rules, in plain values; for messages and logs, not for the road. */
export function overrideOf(view: RequestView): OverrideMessage | null {
  if (view.overrideKind === 0) return null
  const asked = textAt(view, view.overrideBegin, view.overrideLength)
  if (view.overrideKind === 1) return { workflow: asked, version: view.overrideVersion }
  if (view.overrideExperimentLength === 0) return { cell: asked }
  return { cell: asked, experiment: textAt(view, view.overrideExperimentBegin, view.overrideExperimentLength) }
}
