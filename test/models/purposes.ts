import { seededRandom } from '@millrace/base'
import { face, scene } from './images'
import { somePages } from './networks'
import type { Answer, Row } from './rows'
import { frequencyOf, strings, voice } from './sounds'

/** What a network is for. */
export interface Purpose {
  readonly network: string
  readonly does: string
  /** `score` sends one request. */
  check(score: (rows: readonly Row[]) => Promise<Answer[]>): Promise<void>
}

/** On what was painted and played for them: with wrong inputs a network is as exact, and no use. */
export const purposes: readonly Purpose[] = [
  {
    network: 'text-reading',
    does: 'reads what is written, upside down too',
    async check(score) {
      const pages = await somePages()
      const answers = await score(pages.map(({ picture }) => ({ picture })))
      expect(answers.map(({ text }) => text![0])).toEqual(pages.map(({ text }) => text))
    },
  },

  {
    network: 'note-transcription',
    does: 'hears which notes are played when',
    async check(score) {
      const pitch = (note: number, begin: number) => ({ frequency: frequencyOf(note), loudness: 0.3, begin, end: 1.8 })
      const audio = strings(43_844, 22_050, [pitch(69, 0.2), pitch(52, 1)], 0.002, seededRandom(5))
      const [answer] = await score([{ audio }])
      const notes = answer!['note'] as number[]
      /** Mean over the frames from second `begin` to `end`, by MIDI number. */
      const loudness = (note: number, begin: number, end: number): number => {
        const frames = 172 / (43_844 / 22_050)
        const [first, last] = [Math.round(begin * frames), Math.round(end * frames)]
        let sum = 0
        for (let frame = first; frame < last; frame++) sum += notes[frame * 88 + note - 21]!
        return sum / (last - first)
      }
      const heard = (begin: number, end: number): number[] =>
        Array.from({ length: 88 }, (_, i) => i + 21).filter((note) => loudness(note, begin, end) > 0.3)
      expect([heard(0.3, 0.9), heard(1.1, 1.7)]).toEqual([[69], [52, 69]])
    },
  },

  {
    network: 'voice-activity',
    does: 'tells a voice from noise, remembering what came before',
    async check(score) {
      const random = seededRandom(6)
      const samples = 16_000
      const sounds = [
        voice(samples, 16_000, 120, random),
        voice(samples, 16_000, 200, random),
        Float32Array.from({ length: samples }, () => 0.3 * (random() - 0.5)),
        Float32Array.from({ length: samples }, (_, i) => 0.3 * Math.sin(0.2 * i)),
        new Float32Array(samples),
      ]
      // Five streams, a row each.
      let rows: Row[] = sounds.map(() => ({ before: new Float32Array(64), state: new Float32Array(256) }))
      let last: number[] = []
      for (let begin = 0; begin + 512 <= samples; begin += 512) {
        const answers = await score(rows.map((row, i) => ({ ...row, audio: sounds[i]!.slice(begin, begin + 512) })))
        rows = answers.map(({ before, state }) => ({
          before: Float32Array.from(before as number[]),
          state: Float32Array.from(state as number[]),
        }))
        last = answers.map(({ speech }) => speech![0] as number)
      }
      expect(last.map((speech) => speech > 0.5)).toEqual([true, true, false, false, false])
    },
  },

  {
    network: 'face-detection',
    does: 'finds the face that was painted, and where',
    async check(score) {
      const random = seededRandom(9)
      const places = [
        [0.5, 0.5, 0.45],
        [0.35, 0.4, 0.4],
        [0.6, 0.55, 0.5],
      ] as const
      const pictures = await Promise.all([...places.map(([x, y, size]) => face(256, x, y, size)), scene(random)])
      const answers = await score(pictures.map((image) => ({ image })))
      expect(answers.map((answer) => (answer['face']![0] as number) > 0.6)).toEqual([true, true, true, false])
      places.forEach(([x, y], i) => {
        const [left, top, width, height] = answers[i]!['box'] as [number, number, number, number]
        expect(Math.abs(left + width / 2 - x)).toBeLessThan(0.1)
        expect(Math.abs(top + height / 2 - y)).toBeLessThan(0.1)
      })
    },
  },

  {
    network: 'sentence-embedding',
    does: 'sentences that mean the same are near',
    async check(score) {
      const texts = [
        'How old are you?',
        'What is your age?',
        'Interest rates rose.',
        'Borrowing became more expensive.',
      ]
      const answers = await score(texts.map((text) => ({ text })))
      const vectors = answers.map(({ embedding }) => embedding as number[])
      const near = (a: number, b: number): number => vectors[a]!.reduce((sum, one, i) => sum + one * vectors[b]![i]!, 0)
      const others = [near(0, 2), near(0, 3), near(1, 2), near(1, 3)]
      expect(Math.min(near(0, 1), near(2, 3))).toBeGreaterThan(Math.max(...others))
    },
  },
]
