import { readFileSync } from 'node:fs'

/** Turns what the network says of each step along a line into text. */
export class Characters {
  private readonly characters: readonly string[]

  /** @param path one character a line, in the order of the network's classes after the first, which is none */
  constructor(path: string) {
    this.characters = ['', ...readFileSync(path, 'utf8').trimEnd().split(/\r?\n/), ' ']
  }

  /** The likeliest character of each step; a repeated one counts once unless there was none between. */
  read(probabilities: Float32Array): { readonly text: string; readonly sure: number } {
    const classes = this.characters.length
    let text = ''
    let last = 0
    let sum = 0
    let count = 0
    for (let begin = 0; begin < probabilities.length; begin += classes) {
      let best = 0
      for (let i = 1; i < classes; i++) if (probabilities[begin + i]! > probabilities[begin + best]!) best = i
      if (best !== 0 && best !== last) {
        text += this.characters[best]!
        sum += probabilities[begin + best]!
        count++
      }
      last = best
    }
    return { text, sure: count === 0 ? 0 : sum / count }
  }
}
