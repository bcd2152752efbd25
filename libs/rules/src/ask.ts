import { contextMax, fnv1a64, type AttributeValue, type Context, type U64 } from '@millrace/base'
import type { PlainOverride } from './override'
import type { Ask } from './table'

const encoder = new TextEncoder()

/**
 * A request in plain values as the table sees one, for those who decide without a message: clients that hold the
 * table, explanations. One object serves any number of requests, one after the other; it holds until the next `set`.
 */
export class PlainAsker implements Ask {
  objectiveLo = 0
  objectiveHi = 0
  words = new Uint32Array(256)
  subjectWords = this.words
  subjectBegin = 0
  subjectLength = 0
  overrideKind = 0
  overrideBegin = 0
  overrideLength = 0
  overrideVersion = 0
  overrideExperimentBegin = 0
  overrideExperimentLength = 0
  contextCount = 0
  readonly contextNameBegin = new Int32Array(contextMax)
  readonly contextNameLength = new Int32Array(contextMax)
  readonly contextKind = new Uint8Array(contextMax)
  readonly contextTextBegin = new Int32Array(contextMax)
  readonly contextTextLength = new Int32Array(contextMax)
  readonly contextNumber = new Float64Array(contextMax)
  private bytes = new Uint8Array(this.words.buffer)
  private end = 0
  private written = 0
  private readonly hash: U64 = { lo: 0, hi: 0 }

  /**
   * @param subject null, undefined and empty: none
   * @throws RangeError for more than 64 attributes
   */
  set(
    objective: string,
    subject: string | bigint | null | undefined,
    context: Context,
    override?: PlainOverride | null,
  ): this {
    this.end = 0
    const begin = this.put(objective)
    this.hash.lo = this.hash.hi = 0
    fnv1a64(this.bytes, begin, this.written, this.hash)
    this.objectiveLo = this.hash.lo
    this.objectiveHi = this.hash.hi
    this.subjectBegin = this.put(typeof subject === 'bigint' ? String(subject) : (subject ?? ''))
    this.subjectLength = this.written
    this.contextCount = 0
    for (const name in context) this.attribute(name, context[name]!)
    this.overrideKind = 0
    if (override !== undefined && override !== null) this.override(override)
    this.subjectWords = this.words
    return this
  }

  private override(asked: PlainOverride): void {
    const ofVersion = 'version' in asked
    this.overrideKind = ofVersion ? 1 : 2
    this.overrideBegin = this.put(ofVersion ? asked.workflow : asked.cell)
    this.overrideLength = this.written
    this.overrideVersion = ofVersion ? asked.version : 0
    this.overrideExperimentBegin = this.put(ofVersion ? '' : (asked.experiment ?? ''))
    this.overrideExperimentLength = this.written
  }

  private attribute(name: string, value: AttributeValue): void {
    const i = this.contextCount++
    if (i === contextMax) throw new RangeError(`context: more than ${contextMax} attributes`)
    this.contextNameBegin[i] = this.put(name)
    this.contextNameLength[i] = this.written
    if (typeof value === 'string') {
      this.contextKind[i] = 0
      this.contextTextBegin[i] = this.put(value)
      this.contextTextLength[i] = this.written
    } else {
      this.contextKind[i] = typeof value === 'number' ? 1 : 2
      this.contextNumber[i] = Number(value)
    }
  }

  /** Appends a text at the next multiple of four; its bytes are in `written`. */
  private put(text: string): number {
    const begin = this.end
    // UTF-8 takes at most three bytes for each UTF-16 unit.
    const most = begin + 3 * text.length + 4
    if (most > this.bytes.length) this.grow(most)
    const { bytes } = this
    let i = 0
    // Most texts are short and ASCII: the encoder would cost ten times as much for those.
    for (let c; i < text.length && (c = text.charCodeAt(i)) < 128; i++) bytes[begin + i] = c
    this.written = i === text.length ? i : encoder.encodeInto(text, bytes.subarray(begin)).written
    this.end = (begin + this.written + 3) & ~3
    return begin
  }

  private grow(bytes: number): void {
    const grown = new Uint32Array(2 ** Math.ceil(Math.log2(bytes / 4)))
    grown.set(this.words)
    this.words = grown
    this.bytes = new Uint8Array(grown.buffer)
  }
}
