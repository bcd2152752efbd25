import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import type { Network } from './networks'
import type { Answer } from './rows'

/** What the home framework answered, row by row. */
export interface Reference {
  readonly rows: readonly Answer[]
}

const pathOf = ({ name }: Network): string => join(__dirname, 'reference', `${name}.json.gz`)

export function hasReference(network: Network): boolean {
  return existsSync(pathOf(network))
}

export function readReference(network: Network): readonly Answer[] {
  return (JSON.parse(gunzipSync(readFileSync(pathOf(network))).toString('utf8')) as Reference).rows
}

/** Numbers are rounded to seven digits: more than the tolerance needs. */
export function writeReference(network: Network, answers: readonly Answer[]): string {
  const rows = answers.map((answer) =>
    Object.fromEntries(
      Object.entries(answer).map(([name, values]) => [
        name,
        sampled(network, name, values).map((one) => (typeof one === 'number' ? Number(one.toPrecision(7)) : one)),
      ]),
    ),
  )
  const path = pathOf(network)
  // Without a time in its header: the same answers are the same file.
  writeFileSync(path, gzipSync(JSON.stringify({ rows } satisfies Reference), { level: 9 }))
  return path
}

/** Throws an Error that names the first value that is not what is expected. */
export function compare(network: Network, at: string, answer: Answer, expected: Answer): void {
  expect(Object.keys(answer).sort()).toEqual(Object.keys(expected).sort())
  for (const [name, values] of Object.entries(expected)) {
    const given = sampled(network, name, answer[name]!)
    if (given.length !== values.length)
      throw new Error(`${at}: ${name} has ${given.length} values, not ${values.length}`)
    values.forEach((value, i) => {
      if (!isNear(given[i]!, value, network.tolerance))
        throw new Error(`${at}: ${name}[${i}] is ${given[i]}, expected ${value} within ${network.tolerance}`)
    })
  }
}

/** The largest difference, measured as the tolerance is; 1 for text that differs. */
export function difference(network: Network, answer: Answer, expected: Answer): number {
  let largest = 0
  for (const [name, values] of Object.entries(expected)) {
    const given = sampled(network, name, answer[name]!)
    values.forEach((value, i) => (largest = Math.max(largest, distance(given[i]!, value))))
  }
  return largest
}

function isNear(given: number | string, expected: number | string, tolerance: number): boolean {
  return distance(given, expected) <= tolerance
}

function distance(given: number | string, expected: number | string): number {
  if (typeof given === 'string' || typeof expected === 'string') return given === expected ? 0 : 1
  return Math.abs(given - expected) / Math.max(1, Math.abs(expected))
}

function sampled(network: Network, name: string, values: readonly (number | string)[]): readonly (number | string)[] {
  const every = network.every?.[name] ?? 1
  return values.filter((_, i) => i % every === 0)
}
