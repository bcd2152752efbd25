import { Op } from './program'
import type { Ramp } from './ramp'

/** Where jumps lie that are still to land. */
export interface Jumps {
  readonly then: readonly number[]
  readonly otherwise: readonly number[]
}

/** Records under way; their jumps count from their own begin until they are written. */
export class Records {
  readonly words: number[] = []
  /** Where jumps lie. */
  readonly jumps: number[] = []
  readonly ramps: Ramp[] = []

  add(opcode: number, ...body: readonly number[]): void {
    this.words.push(opcode, 2 + body.length, ...body)
  }

  /** Adds a record whose word `jump` of its body is where it goes else; returns where that lies. */
  jump(opcode: number, jump: number, ...body: readonly number[]): number {
    const at = this.words.length + 2 + jump
    this.add(opcode, ...body)
    this.jumps.push(at)
    return at
  }

  /** Adds a test of a slot's attribute, with both of its jumps. */
  test(opcode: number, slot: number, value: number): Jumps {
    const then = this.words.length + 4
    this.add(opcode, slot, value, 0, 0)
    this.jumps.push(then, then + 1)
    return { then: [then], otherwise: [then + 1] }
  }

  /** Lets a jump end here. */
  land(at: number): void {
    this.words[at] = this.words.length
  }

  end(): void {
    this.words.push(Op.END)
  }
}
