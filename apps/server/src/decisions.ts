import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { Code, fnv1a64, type U64 } from '@millrace/base'
import type { Route } from '@millrace/rules'
import type { RequestView } from '@millrace/wire'
import type { Mapping } from './mapping'
import type { Refused } from './refused'

/*
 * Decisions that clients carry: what `/v1/resolve` says, signed, so that a later request need not be decided again.
 *
 *   0 format  4 issued, s since 1970  8 rules version  12 zero  16 objective  24 subject  32 route  40 signature
 *
 * Little endian. Objective and subject are 64-bit FNV-1a hashes; the route is a hash of its words, so that other rules
 * know it that still have it. The signature is the first half of HMAC-SHA256 over what is before it and the subject's
 * bytes: a subject with an equal hash is not enough.
 */

const format = 1
const signedBytes = 40
const signatureBytes = 16
export const decisionBytes = signedBytes + signatureBytes

export class Decisions {
  private readonly bytes = Buffer.alloc(decisionBytes)
  private readonly subjectHash: U64 = { lo: 0, hi: 0 }

  /**
   * @param keys the first signs; any of them may have signed what is accepted
   * @param secondsMax how long a decision holds
   * @param nowMs since 1970
   */
  constructor(
    private readonly keys: readonly string[],
    private readonly secondsMax: number,
    private readonly nowMs: () => number = Date.now,
  ) {}

  /** The decision of a request that was looked up: its objective has its hash, its subject is text. */
  sign(view: RequestView, mapping: Mapping, route: number): Uint8Array {
    const { bytes, subjectHash } = this
    const subject = this.subjectOf(view)
    bytes.writeUInt32LE(format, 0)
    bytes.writeUInt32LE(this.seconds(), 4)
    bytes.writeUInt32LE(mapping.table.version, 8)
    bytes.writeUInt32LE(view.objectiveLo, 16)
    bytes.writeUInt32LE(view.objectiveHi, 20)
    bytes.writeUInt32LE(subjectHash.lo, 24)
    bytes.writeUInt32LE(subjectHash.hi, 28)
    bytes.writeDoubleLE(mapping.hashOfRoute(route), 32)
    signatureOf(this.keys[0]!, bytes, subject).copy(bytes, signedBytes, 0, signatureBytes)
    return new Uint8Array(bytes)
  }

  /** The route that the decision of a request names, -1 when the rules in force do not have it, or why it is refused. */
  accept(view: RequestView, mapping: Mapping): number | Refused {
    const bytes = Buffer.from(view.buffer as ArrayBuffer, view.base + view.decisionBegin, view.decisionLength)
    if (bytes.length !== decisionBytes || bytes.readUInt32LE(0) !== format) return forged
    const subject = this.subjectOf(view)
    const { lo, hi } = this.subjectHash
    if (bytes.readUInt32LE(16) !== view.objectiveLo || bytes.readUInt32LE(20) !== view.objectiveHi)
      return ofAnother('objective')
    if (bytes.readUInt32LE(24) !== lo || bytes.readUInt32LE(28) !== hi) return ofAnother('subject')
    if (!this.keys.some((key) => isSigned(bytes, signatureOf(key, bytes, subject)))) return forged
    const age = this.seconds() - bytes.readUInt32LE(4)
    return age > this.secondsMax ? tooOld(age, this.secondsMax) : mapping.routeOfHash(bytes.readDoubleLE(32))
  }

  private seconds(): number {
    return Math.floor(this.nowMs() / 1000)
  }

  /** The subject's bytes, none without one; their hash is in `subjectHash` then. */
  private subjectOf({ subjectWords, subjectBegin, subjectLength }: RequestView): Uint8Array {
    const subject = new Uint8Array(subjectWords.buffer, subjectWords.byteOffset + subjectBegin, subjectLength)
    fnv1a64(subject, 0, subjectLength, this.subjectHash)
    return subject
  }
}

/** 53 bits of a route's words: the same in every table that has it, whatever its place there. */
export function routeHash({ objective, workflow, version, rule, cell }: Route): number {
  const words = JSON.stringify([objective, workflow, version, rule, cell])
  const digest = createHash('sha256').update(words).digest()
  return digest.readUInt32LE(0) + (digest.readUInt32LE(4) & 0x1fffff) * 2 ** 32
}

function signatureOf(key: string, bytes: Buffer, subject: Uint8Array): Buffer {
  return createHmac('sha256', key).update(bytes.subarray(0, signedBytes)).update(subject).digest()
}

function isSigned(bytes: Buffer, signature: Buffer): boolean {
  return timingSafeEqual(signature.subarray(0, signatureBytes), bytes.subarray(signedBytes))
}

const forged: Refused = {
  code: Code.UNAUTHENTICATED,
  message: 'decision: was changed, or signed by a key that is not in MILLRACE_DECISION_KEY here; resolve again',
}

function ofAnother(what: string): Refused {
  return { code: Code.INVALID_ARGUMENT, message: `decision: was made for another ${what}; resolve for this one` }
}

function tooOld(age: number, secondsMax: number): Refused {
  const message = `decision: was made ${age} s ago, holds for ${secondsMax} (MILLRACE_DECISION_SECONDS); resolve again`
  return { code: Code.FAILED_PRECONDITION, message }
}
