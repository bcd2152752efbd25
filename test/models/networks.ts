import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { ModelFormat } from '@millrace/engine'
import { seededRandom } from '@millrace/base'
import { face, scene } from './images'
import { page, somePage } from './pages'
import { items, users } from './recommender'
import type { Row } from './rows'
import { frequencyOf, strings, voice } from './sounds'

/** A workflow of `repository` whose answers have a reference. */
export interface Network {
  /** Of its folder; version 1. */
  readonly name: string
  readonly format: ModelFormat
  /** The rows that `reference/<name>.json.gz` has answers for; the same at every call. */
  rows(): Promise<Row[]>
  /** An answer may differ by this times the larger of 1 and what is expected. README.md says why. */
  readonly tolerance: number
  /** Of a wide output column, the reference keeps each so manieth value. */
  readonly every?: Readonly<Record<string, number>>
}

const images = (seed: number, count: number) => async (): Promise<Row[]> => {
  const random = seededRandom(seed)
  const drawn: Row[] = []
  for (let i = 0; i < count; i++)
    drawn.push({ image: i % 2 === 0 ? await face(256, 0.5, 0.5, 0.3 + 0.3 * random()) : await scene(random) })
  return drawn
}

export const networks: readonly Network[] = [
  {
    name: 'sentence-embedding',
    format: 'tfjs',
    tolerance: 1e-5,
    rows: () => Promise.resolve(sentences.map((text) => ({ text }))),
  },
  {
    name: 'note-transcription',
    format: 'tfjs',
    tolerance: 1e-4,
    every: { note: 37, onset: 37, contour: 97 },
    rows: () => {
      const random = seededRandom(2)
      return Promise.resolve(
        Array.from({ length: 8 }, () => {
          const pitches = Array.from({ length: 4 }, () => {
            const begin = 1.6 * random()
            return {
              frequency: frequencyOf(40 + Math.floor(45 * random())),
              loudness: 0.05 + 0.2 * random(),
              begin,
              end: begin + 0.3 + random(),
            }
          })
          return { audio: strings(43_844, 22_050, pitches, 0.001 + 0.01 * random(), random) }
        }),
      )
    },
  },
  {
    name: 'voice-activity',
    format: 'onnx',
    tolerance: 1e-5,
    rows: () => {
      const random = seededRandom(3)
      const small = (length: number): Float32Array => Float32Array.from({ length }, () => random() - 0.5)
      return Promise.resolve(
        Array.from({ length: 24 }, (_, i) => {
          const audio = i % 3 === 0 ? small(576) : voice(16_000, 16_000, 90 + 8 * i, random).subarray(4000, 4576)
          const state = i % 2 === 0 ? new Float32Array(256) : small(256)
          return { audio: audio.slice(64), before: audio.slice(0, 64), state }
        }),
      )
    },
  },
  { name: 'face-detection', format: 'tfjs', tolerance: 1e-5, rows: images(4, 7) },
  { name: 'face-mesh', format: 'tfjs', tolerance: 3e-4, every: { points: 11 }, rows: images(5, 10) },
  {
    name: 'text-reading',
    format: 'onnx',
    // Of `sure`; what is read is the same text.
    tolerance: 1e-5,
    rows: async () => {
      const pages = await somePages()
      return [...pages.map(({ picture }) => ({ picture })), { picture: await page(320, 96, []) }]
    },
  },
  { name: 'body-pose', format: 'tfjs', tolerance: 1e-4, rows: images(6, 7) },
  { name: 'hand-detection', format: 'tfjs', tolerance: 1e-4, rows: images(7, 4) },
  {
    name: 'fuel-economy',
    format: 'onnx',
    tolerance: 1e-5,
    rows: () => Promise.resolve(carFeatures().map((features) => ({ features }))),
  },
  {
    name: 'car-origin',
    format: 'savedmodel',
    tolerance: 1e-5,
    rows: () => Promise.resolve(['', 'of words never seen', ...carNames()].map((name) => ({ name }))),
  },
  {
    name: 'recommender',
    format: 'onnx',
    tolerance: 1e-5,
    rows: () => {
      const random = seededRandom(8)
      const whole = (below: number): Int32Array => Int32Array.of(Math.floor(below * random()))
      const edges = [
        { user: Int32Array.of(0), item: Int32Array.of(0) },
        { user: Int32Array.of(users - 1), item: Int32Array.of(items - 1) },
      ]
      return Promise.resolve([
        ...edges,
        ...Array.from({ length: 98 }, () => ({ user: whole(users), item: whole(items) })),
      ])
    },
  },
]

/** Pages and what is written on them. */
export async function somePages(): Promise<{ readonly picture: Buffer; readonly text: string }[]> {
  const random = seededRandom(7)
  const pages: Awaited<ReturnType<typeof somePage>>[] = []
  for (let i = 0; i < 8; i++) pages.push(await somePage(random))
  return pages
}

const sentences = [
  'How old are you?',
  'What is your age?',
  'Water runs a mill for as long as it runs.',
  'The mill stands still when the race is dry.',
  'naïve café — “quotes”, 3.14 % & 中文',
  'A',
  'Models are served in batches with everybody else’s rows, and every answer belongs to its own row.',
  'the the the the the the the the the the the the the the the the the the the the',
  'Interest rates rose by a quarter of a point on Thursday.',
  'The central bank made borrowing more expensive.',
  'ALL CAPITALS AND NOTHING ELSE',
  '🎉',
]

function readCars(): readonly Readonly<Record<string, number | string | null>>[] {
  const path = join(dirname(require.resolve('vega-datasets')), '../data/cars.json')
  return JSON.parse(readFileSync(path, 'utf8')) as ReturnType<typeof readCars>
}

/** Of `vega-datasets`, as its owner knows them. */
function carNames(): string[] {
  return readCars()
    .filter((_, i) => i % 5 === 0)
    .map((car) => car['Name'] as string)
}

/** The same cars as the trees take them. */
function carFeatures(): Float32Array[] {
  return readCars()
    .map((car) => [
      ...['Cylinders', 'Displacement', 'Horsepower', 'Weight_in_lbs', 'Acceleration'].map((name) => car[name]),
      Number(String(car['Year']).slice(0, 4)),
    ])
    .filter((features) => !features.includes(null))
    .filter((_, i) => i % 7 === 0)
    .map((features) => Float32Array.from(features as number[]))
}
