import type { PartialReply } from '../partial-reply'
import type { KeptAnswer } from './kept-answers'
import type { Pair, ShadowTarget } from './targets'

/** Nobody has answered yet. */
export const unanswered = -1

/** A copy of one request to one shadow: an index for its batches, and what was answered so far. */
export class Copy {
  target!: ShadowTarget
  pair!: Pair
  /** Another copy of the same request. */
  next: Copy | null = null
  /** As the caller numbered the request. */
  idLo = 0
  idHi = 0
  rulesVersion = 0
  rows = 0
  /** Parts in batches that have not come back. */
  parts = 0
  /** Compared or dropped: it is free when its parts are back and its request is answered. */
  done = false
  /** What the request was answered with, and what that took: microseconds and rows of its batch. */
  primaryCode: number = unanswered
  primaryUs = 0
  primaryRows = 0
  answer: KeptAnswer | null = null
  /** The same of the copy. */
  code: number = unanswered
  us = 0
  batchRows = 0
  /** Its outputs, where they do not lie in one slab, or came before the answer. */
  partial: PartialReply | null = null

  constructor(readonly index: number) {}
}

/** The copies that a lane holds; objects are used again. */
export class Copies {
  private readonly all: Copy[] = []
  private readonly spare: Copy[] = []

  get held(): number {
    return this.all.length - this.spare.length
  }

  /** What a batch says its rows belong to. */
  of(index: number): Copy {
    return this.all[index]!
  }

  take(target: ShadowTarget, pair: Pair): Copy {
    let copy = this.spare.pop()
    if (copy === undefined) this.all.push((copy = new Copy(this.all.length)))
    copy.target = target
    copy.pair = pair
    copy.parts = 0
    copy.done = false
    copy.primaryCode = unanswered
    copy.code = unanswered
    target.copies++
    return copy
  }

  /** Marks a copy as compared or dropped; the caller has let go of what it held. */
  finish(copy: Copy): void {
    copy.done = true
    copy.partial = null
    copy.target.copies--
    this.leave(copy)
  }

  /** Frees a copy that is done, once neither a batch nor a call knows of it. */
  leave(copy: Copy): void {
    if (!copy.done || copy.parts > 0 || copy.primaryCode === unanswered) return
    copy.next = null
    this.spare.push(copy)
  }
}
