import { fnv1a64, type U64 } from '@millrace/base'
import type { RequestView } from '@millrace/wire'

/** Hash of an objective that came by its name. */
const objective: U64 = { lo: 0, hi: 0 }
/** What a subject's decimal digits are hashed from: a u64 has at most 20. */
const digits = new Uint32Array(20 / 4)
const digitBytes = Buffer.from(digits.buffer)

/** Has a view say what look-ups go by: the objective by its hash, the subject by its bytes or its digits. */
export function complete(view: RequestView): void {
  if (view.objectiveLo === 0 && view.objectiveHi === 0 && view.objectiveBegin > 0) {
    const name = new Uint8Array(view.buffer as ArrayBuffer, view.base + view.objectiveBegin, view.objectiveLength)
    fnv1a64(name, 0, view.objectiveLength, objective)
    view.objectiveLo = objective.lo
    view.objectiveHi = objective.hi
  }
  if (view.subjectIsNumber === 1) {
    const number = (BigInt(view.subjectNumberHi) << 32n) | BigInt(view.subjectNumberLo)
    view.subjectWords = digits
    view.subjectBegin = 0
    view.subjectLength = digitBytes.write(String(number), 'latin1')
  }
}
