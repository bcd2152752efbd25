import { denseArray, nowUs, type DenseDType } from '@millrace/base'
import { isOutOfMemory, type Model } from '@millrace/engine'
import { columnsFromJson } from './columns-json'
import { runGolden, type Golden } from './golden'
import type { LoadedVersion } from './loaded'
import { atOnce, type Step } from './step'

/**
 * Runs batches of 1, 2, 4 .. rowsMax rows, so that the first real one of each size finds code compiled and memory
 * there; stops where `budgetMs` is spent. With golden requests the whole workflow runs, else the model alone, on
 * zeros (user code need not make sense of zeros).
 *
 * Resolves with whether anything ran: without golden requests a model of strings or of free inner dimensions is left
 * cold, and so are several models, whose rows only `score` knows. Rejects when the version cannot run a batch.
 */
export async function warm(
  version: LoadedVersion,
  goldens: readonly Golden[],
  budgetMs: number,
  step: Step = atOnce,
): Promise<boolean> {
  if (goldens.length === 0 && !takesZeros(version)) return false
  const begun = nowUs()
  for (
    let rows = 1;
    rows <= version.rowsMax && nowUs() - begun < budgetMs * 1000;
    rows = nextSize(rows, version.rowsMax)
  ) {
    // What fits no more is known now: larger batches run in parts.
    if (rows > version.fitting.limit) break
    const batchRows = rows
    if (goldens.length > 0) await step(() => runGolden(version, repeat(version, goldens, batchRows), { batchRows }))
    else
      try {
        await step(() => warmModel(version.model!, batchRows))
      } catch (error) {
        if (rows === 1 || !isOutOfMemory(error)) throw error
        version.fitting.failed(rows, nowUs())
      }
  }
  return true
}

/** Golden requests, over and over, until they are `rows` rows or a few more. */
function repeat(version: LoadedVersion, goldens: readonly Golden[], rows: number): Golden[] {
  const repeated: Golden[] = []
  for (let i = 0, filled = 0; filled < rows; i++) {
    const golden = goldens[i % goldens.length]!
    repeated.push(golden)
    filled += rowsOf(version, golden.inputs)
  }
  return repeated
}

/** At least 1: a golden request may be one that is refused. */
function rowsOf(version: LoadedVersion, inputs: Golden['inputs']): number {
  try {
    return Math.max(1, columnsFromJson(version.signature.inputs, inputs).rows)
  } catch {
    return 1
  }
}

function nextSize(rows: number, rowsMax: number): number {
  return rows < rowsMax ? Math.min(rows * 2, rowsMax) : rowsMax + 1
}

/** False where nothing can stand for a real batch: several models, inputs of free shape or of strings. */
function takesZeros(version: LoadedVersion): boolean {
  const model = version.model
  return (
    model !== null && model.inputs.every(({ dtype, shape }) => dtype !== 'string' && !shape.slice(1).includes(null))
  )
}

async function warmModel(model: Model, rows: number): Promise<void> {
  await model.run(
    Object.fromEntries(
      model.inputs.map(({ name, dtype, shape }) => {
        const filled = shape.map((n) => n ?? rows)
        const length = filled.reduce((product, n) => product * n, 1)
        return [name, { dtype, shape: filled, data: denseArray(dtype as DenseDType, length) }]
      }),
    ),
  )
}
