import { denseArray, seededRandom, type DenseDType } from '@millrace/base'
import type { Model, Tensor, Tensors, TensorSpec } from './engine'

/** Outputs agree where |a - b| <= absolute + relative |b|; whole numbers and truth where they are equal. */
export const tolerance = { absolute: 1e-5, relative: 1e-4 } as const

/** Batch sizes that are compared; free dimensions of one row are `innerSize`. */
const rowCounts = [1, 3]
const innerSize = 8

/**
 * Runs both models on the same made-up rows, by a fixed seed. Whole numbers may be keys, positions or lengths, so
 * several kinds are tried; one that the reference itself does not run says nothing.
 *
 * @returns null when they agree, else where they do not, or that no rows were found to compare them on
 */
export async function difference(model: Model, reference: Model): Promise<string | null> {
  const random = seededRandom(1)
  let compared = 0
  let refused = ''
  for (const integers of [() => Math.floor(2 * random()), (i: number) => i, () => 1, () => 0])
    for (const rows of rowCounts) {
      const inputs = madeUp(reference.inputs, rows, random, integers)
      const expected = await reference.run(inputs).catch((error: Error) => void (refused = error.message))
      if (expected === undefined) continue
      const where = await compare(model, inputs, expected)
      if (where !== null) return `${where} (of ${rows} made-up rows)`
      compared++
    }
  return compared > 0 ? null : `it cannot be compared: made-up rows do not run, ${refused}`
}

async function compare(model: Model, inputs: Tensors, expected: Tensors): Promise<string | null> {
  try {
    const given = await model.run(inputs)
    for (const name in expected) {
      const where = differenceOf(given[name]!, expected[name]!)
      if (where !== null) return `its graph's output \`${name}\` is otherwise, ${where}`
    }
    return null
  } catch (error) {
    return `its graph does not run: ${(error as Error).message}`
  }
}

function differenceOf(given: Tensor, expected: Tensor): string | null {
  if (given.shape.join() !== expected.shape.join())
    return `shape [${given.shape.join()}] for [${expected.shape.join()}]`
  const [a, b] = [given.data as ArrayLike<number>, expected.data as ArrayLike<number>]
  for (let i = 0; i < b.length; i++) {
    const [x, y] = [a[i]!, b[i]!]
    const near = Math.abs(x - y) <= tolerance.absolute + tolerance.relative * Math.abs(y)
    if (!near && !Object.is(x, y)) return `${x} for ${y} at ${i}`
  }
  return null
}

/** Reals in [-1, 1); whole numbers as `integers` says, by their place. */
function madeUp(
  specs: readonly TensorSpec[],
  rows: number,
  random: () => number,
  integers: (i: number) => number,
): Tensors {
  return Object.fromEntries(
    specs.map(({ name, dtype, shape }) => {
      const filled = shape.map((n, d) => n ?? (d === 0 ? rows : innerSize))
      const data = denseArray(
        dtype as DenseDType,
        filled.reduce((product, n) => product * n, 1),
      ) as Float32Array
      for (let i = 0; i < data.length; i++)
        data[i] = dtype === 'f32' ? 2 * random() - 1 : dtype === 'bool' ? integers(i) & 1 : integers(i)
      return [name, { dtype, shape: filled, data } as Tensor]
    }),
  )
}
