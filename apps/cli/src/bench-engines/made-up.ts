import { seededRandom, type AttributeSpec, type ColumnSpec, type Context } from '@millrace/base'

/** A request as JSON: its columns by name. */
export type JsonInputs = Readonly<Record<string, unknown>>

/** Requests of one row for a workflow that has no golden ones: floats in 0 .. 1, whole numbers in 0 .. 7, short texts. */
export function madeUpRequests(inputs: readonly ColumnSpec[], count: number, seed: number): JsonInputs[] {
  const random = seededRandom(seed)
  return Array.from({ length: count }, () =>
    Object.fromEntries(
      inputs.map((spec) => {
        const value = valueOf(spec, random)
        return [spec.name, spec.per === 'row' ? [value] : value]
      }),
    ),
  )
}

/** What has no default in a context: an empty text, 0, false. */
export function madeUpContext(specs: readonly AttributeSpec[]): Context {
  const madeUp = { text: '', number: 0, truth: false } as const
  return Object.fromEntries(specs.map(({ name, kind, missing }) => [name, missing ?? madeUp[kind]]))
}

const listLength = 8

function valueOf({ dtype, ragged, shape }: ColumnSpec, random: () => number): unknown {
  if (dtype === 'string') return `text ${Math.floor(random() * 1000)}`
  if (dtype === 'bytes') return Buffer.from(`bytes ${Math.floor(random() * 1000)}`).toString('base64')
  const one = (): number | boolean => {
    if (dtype === 'bool') return random() < 0.5
    return dtype.startsWith('f') ? random() : Math.floor(random() * 8)
  }
  const fill = ([length, ...inner]: readonly number[]): unknown =>
    length === undefined ? one() : Array.from({ length }, () => fill(inner))
  return fill(ragged ? [listLength] : shape)
}
