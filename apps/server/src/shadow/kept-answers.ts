import type { Arena } from '@millrace/base'

/** Bytes that answers share; a larger one has its own. */
const pageBytes = 64 * 1024

interface Page {
  readonly offset: number
  readonly bytes: number
  used: number
  /** Copies that wait for answers of it. */
  holders: number
}

/**
 * An answer that was given, until its copy can be compared with it. Thousands live for seconds: they are places, since the
 * garbage collector moves each view that lives, while requests wait.
 */
export interface KeptAnswer {
  readonly page: Page
  /** In the arena, bytes. */
  readonly begin: number
  readonly length: number
}

/**
 * Answers of primaries that wait for their copies, in pages out of the lane's arena, so that what shadows take is in one
 * budget with everything else.
 */
export class KeptAnswers {
  private open: Page | null = null

  constructor(private readonly arena: Arena) {}

  /** Copies an answer, for as many as `holders`; null when no page may be taken for it. */
  keep(answer: Uint8Array, holders: number, mayTake: () => boolean): KeptAnswer | null {
    // 8-aligned as in the message, whose numbers are read in place.
    const bytes = (answer.length + 7) & ~7
    let page = this.open
    if (page === null || page.used + bytes > page.bytes) {
      const taken = mayTake() ? this.take(Math.max(bytes, pageBytes)) : null
      if (taken === null) return null
      page = taken
    }
    const begin = page.offset + page.used
    this.arena.bytes.set(answer, begin)
    page.used += bytes
    page.holders += holders
    return { page, begin, length: answer.length }
  }

  /** The bytes of an answer that is not released. */
  read({ begin, length }: KeptAnswer): Uint8Array {
    return this.arena.bytes.subarray(begin, begin + length)
  }

  /** One copy is done with an answer. */
  release({ page }: KeptAnswer): void {
    if (--page.holders > 0) return
    if (page === this.open) this.open = null
    this.arena.release(page.offset)
  }

  private take(bytes: number): Page | null {
    const offset = this.arena.take(bytes)
    if (offset < 0) return null
    // What is left of the one before it is given up; it goes back with its last holder.
    this.open = { offset, bytes: this.arena.blockBytes(bytes), used: 0, holders: 0 }
    return this.open
  }
}
