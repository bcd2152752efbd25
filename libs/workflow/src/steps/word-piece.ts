import type { Tokeniser } from './tokenise'

export interface WordPieceOptions {
  /** As for an "uncased" model: small letters, without accents. Default true. */
  readonly lowercase?: boolean
  /** The piece for a word that no pieces spell; default `[UNK]`. */
  readonly unknown?: string
  /** Characters of a word; a longer one is unknown. Default 100. */
  readonly wordCharactersMax?: number
}

/**
 * BERT's tokeniser (Devlin et al. 2018; Wu et al. 2016): words and marks, each spelt from its begin with the longest
 * piece that fits, pieces within a word written `##piece`. `[CLS]`, `[SEP]` and padding are `tokenise`'s.
 */
export class WordPiece implements Tokeniser {
  private readonly tokens = new Map<string, number>()
  private readonly unknown: number
  private readonly lowercase: boolean
  private readonly wordCharactersMax: number

  /**
   * @param vocabulary the pieces in their order, or the text of a `vocab.txt`: one piece a line, its line is its token
   * Throws an Error when it does not have the unknown piece.
   */
  constructor(
    vocabulary: readonly string[] | string,
    { lowercase = true, unknown = '[UNK]', wordCharactersMax = 100 }: WordPieceOptions = {},
  ) {
    const pieces = typeof vocabulary === 'string' ? vocabulary.replace(/\r?\n$/, '').split(/\r?\n/) : vocabulary
    pieces.forEach((piece, token) => this.tokens.set(piece, token))
    this.unknown = this.token(unknown)
    this.lowercase = lowercase
    this.wordCharactersMax = wordCharactersMax
  }

  /** The token of a piece, for `begin`, `end` and `padding`. Throws an Error when there is no such piece. */
  token(piece: string): number {
    const token = this.tokens.get(piece)
    if (token === undefined) throw new Error(`the vocabulary has no piece '${piece}'`)
    return token
  }

  encode(text: string): number[] {
    const tokens: number[] = []
    for (const word of this.words(text)) this.spell(word, tokens)
    return tokens
  }

  private words(text: string): string[] {
    const clean = text
      .replace(/[\0\uFFFD]/gu, '')
      .replace(/\s/gu, ' ')
      .replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}]/gu, '')
    const plain = this.lowercase
      ? clean
          .normalize('NFD')
          .replace(/\p{Mn}/gu, '')
          .toLowerCase()
      : clean
    return plain
      .replace(apart, ' $& ')
      .split(/\s+/u)
      .filter((word) => word !== '')
  }

  private spell(word: string, tokens: number[]): void {
    const characters = Array.from(word)
    const known = tokens.length
    for (let begin = 0; begin < characters.length; ) {
      let end = characters.length <= this.wordCharactersMax ? characters.length : begin
      let token: number | undefined
      for (; end > begin; end--) {
        token = this.tokens.get((begin > 0 ? '##' : '') + characters.slice(begin, end).join(''))
        if (token !== undefined) break
      }
      if (token === undefined) {
        tokens.length = known
        tokens.push(this.unknown)
        return
      }
      tokens.push(token)
      begin = end
    }
  }
}

/** Words of their own: marks, also ASCII's that Unicode calls symbols, and Chinese characters. */
const apart =
  /[\p{P}!-/:-@[-`{-~]|[\u4E00-\u9FFF\u3400-\u4DBF\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B820}-\u{2CEAF}\uF900-\uFAFF\u{2F800}-\u{2FA1F}]/gu
