import { Code, Refusal } from '@millrace/base'
import { encodeRequest } from './encode'
import { Flag } from './generated/flag'
import { dtypeName, type RequestMessage, type WireColumn } from './message'
import { contextOf, describeFault, overrideOf, RequestView, textAt } from './request-view'
import { verifyRequest } from './verify'

/**
 * Reads a request as plain values: for tools, not for the road. Columns are views of a copy of the message.
 *
 * Throws a Refusal INVALID_ARGUMENT that names the field when it is none.
 */
export function decodeRequest(message: Uint8Array): RequestMessage {
  const own = new Uint8Array(message)
  const view = new RequestView()
  if (!verifyRequest(own.buffer, 0, own.length, view)) {
    const what = view.isList ? 'it is a list of requests' : describeFault(view)
    throw new Refusal(Code.INVALID_ARGUMENT, what)
  }
  const hash = u64(view.objectiveLo, view.objectiveHi)
  return {
    id: u64(view.idLo, view.idHi),
    objective: view.objectiveBegin > 0 ? textAt(view, view.objectiveBegin, view.objectiveLength) : undefined,
    objectiveHash: hash === 0n ? undefined : hash,
    subject: subjectOf(view),
    context: contextOf(view),
    inputs: Array.from({ length: view.inputCount }, (_, i) => columnOf(view, own, i)),
    deadlineUs: view.deadlineUs,
    priority: view.priority === 1 ? 'bulk' : 'interactive',
    override: overrideOf(view) ?? undefined,
    timings: (view.flags & Flag.Timings) !== 0,
    dryRun: (view.flags & Flag.DryRun) !== 0,
    decision:
      view.decisionLength > 0 ? own.subarray(view.decisionBegin, view.decisionBegin + view.decisionLength) : undefined,
  }
}

/** A copy of a request that bears another id, 1 or more; whatever id it had, also none. Throws as `decodeRequest` does. */
export function withRequestId(message: Uint8Array, id: bigint): Uint8Array {
  return encodeRequest({ ...decodeRequest(message), id })
}

function subjectOf(view: RequestView): string | bigint | undefined {
  if (view.subjectIsNumber === 1) return u64(view.subjectNumberLo, view.subjectNumberHi)
  return view.subjectBegin > 0 ? textAt(view, view.subjectBegin, view.subjectLength) : undefined
}

function columnOf(view: RequestView, own: Uint8Array<ArrayBuffer>, i: number): WireColumn {
  const numbers = (begin: number, n: number): Uint32Array => new Uint32Array(own.buffer, begin, n)
  const begin = view.dataBegin[i]!
  return {
    name: textAt(view, view.nameBegin[i]!, view.nameLength[i]!),
    dtype: dtypeName(view.dtype[i]!),
    ...(view.shapeBegin[i] === 0 ? {} : { shape: [...numbers(view.shapeBegin[i]!, view.shapeLength[i]!)] }),
    data: own.subarray(begin, begin + view.dataLength[i]!),
    ...(view.offsetsBegin[i] === 0 ? {} : { offsets: numbers(view.offsetsBegin[i]!, view.offsetsLength[i]!) }),
  }
}

function u64(lo: number, hi: number): bigint {
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)
}
