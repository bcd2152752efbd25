import { codeNames, type Code } from './code'

/**
 * An expected "no" outside the road: at start, in the client, in the command line tool. On the road a
 * refusal is a code in an array, never an exception.
 */
export class Refusal extends Error {
  constructor(
    readonly code: Code,
    message: string,
  ) {
    super(message)
    this.name = codeNames[code] ?? 'UNKNOWN'
  }
}
