import type { Tokeniser } from './tokenise'
import type { Vocabulary } from './vocabulary'

export interface WordsOptions {
  /** Capitals count as small letters; default true. */
  readonly lowercase?: boolean
  /** The token of a word that the vocabulary does not have; by default such words are left out. */
  readonly unknown?: number
}

/** The plainest tokeniser: runs of letters and digits are words, all else stands between them. */
export class Words implements Tokeniser {
  private readonly lowercase: boolean
  private readonly unknown: number | null

  constructor(
    private readonly vocabulary: Vocabulary,
    { lowercase = true, unknown }: WordsOptions = {},
  ) {
    this.lowercase = lowercase
    this.unknown = unknown ?? null
  }

  /** Indexes of the words of `text` in the vocabulary; NFC first, so that an accent may be written either way. */
  encode(text: string): number[] {
    const normal = text.normalize('NFC')
    const tokens: number[] = []
    for (const [word] of (this.lowercase ? normal.toLowerCase() : normal).matchAll(/[\p{L}\p{M}\p{N}]+/gu)) {
      const token = this.vocabulary.indexOf(word)
      if (token >= 0) tokens.push(token)
      else if (this.unknown !== null) tokens.push(this.unknown)
    }
    return tokens
  }
}
