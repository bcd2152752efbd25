import type { Tokeniser } from './tokenise'

/** A piece of text and the logarithm of its probability; its place in the list is its token. */
export type Piece = readonly [text: string, score: number]

interface Node {
  readonly next: Map<number, Node>
  /** The piece that ends here, or -1. */
  piece: number
}

export interface UnigramOptions {
  /** Pieces at the begin of the list that no text spells: control pieces. Default 6, as in Universal Sentence Encoder Lite. */
  readonly reserved?: number
  /** The token of a run of characters that no piece spells. Default 0. */
  readonly unknown?: number
}

/** What SentencePiece takes off the least likely piece's score for a character that it does not know. */
const unknownPenalty = 10
/** Stands for a space, U+2581. */
const space = '▁'

/**
 * Text to tokens: of all ways to spell a text with pieces, the likeliest one (a unigram language model; Kudo 2018,
 * "Subword Regularization"), as SentencePiece does it. Built once, when the workflow file is loaded.
 */
export class Unigram implements Tokeniser {
  private readonly root: Node = { next: new Map(), piece: -1 }
  private readonly scores: Float64Array
  private readonly unknownScore: number

  private readonly unknown: number

  /** @param pieces the model's vocabulary, in its order: a piece's place is its token */
  constructor(pieces: readonly Piece[], { reserved = 6, unknown = 0 }: UnigramOptions = {}) {
    this.unknown = unknown
    this.scores = Float64Array.from(pieces, ([, score]) => score)
    this.unknownScore = this.scores.reduce((least, score) => Math.min(least, score)) - unknownPenalty
    for (let piece = reserved; piece < pieces.length; piece++) this.add(pieces[piece]![0], piece)
  }

  /** Tokens of `text`; none for a text without visible characters. A run of unknown characters is one token. */
  encode(text: string): number[] {
    const unknown = this.unknown
    const words = text
      .normalize('NFKC')
      .split(/\s+/u)
      .filter((word) => word !== '')
    const characters = Array.from(words.map((word) => space + word).join(''), (character) => character.codePointAt(0)!)
    const length = characters.length
    // The best spelling of the first `end` characters: its score, its last token, and where that token begins.
    const best = new Float64Array(length + 1).fill(-Infinity)
    const token = new Int32Array(length + 1)
    const begins = new Int32Array(length + 1)
    best[0] = 0
    for (let begin = 0; begin < length; begin++) {
      const reach = (end: number, score: number, piece: number): void => {
        if (best[begin]! + score <= best[end]!) return
        best[end] = best[begin]! + score
        token[end] = piece
        begins[end] = begin
      }
      reach(begin + 1, this.unknownScore, unknown)
      let node: Node | undefined = this.root
      for (let end = begin; end < length; ) {
        node = node.next.get(characters[end++]!)
        if (node === undefined) break
        if (node.piece >= 0) reach(end, this.scores[node.piece]!, node.piece)
      }
    }
    const tokens: number[] = []
    for (let end = length; end > 0; end = begins[end]!)
      if (token[end] !== unknown || tokens.at(-1) !== unknown) tokens.push(token[end]!)
    return tokens.reverse()
  }

  private add(text: string, piece: number): void {
    let node = this.root
    for (const character of text) {
      const code = character.codePointAt(0)!
      let next = node.next.get(code)
      if (next === undefined) node.next.set(code, (next = { next: new Map(), piece: -1 }))
      node = next
    }
    node.piece = piece
  }
}
