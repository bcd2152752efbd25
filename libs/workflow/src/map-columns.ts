import { Strings, type DenseArray, type StringsWriter } from '@millrace/base'
import type { Tensors } from '@millrace/engine'
import type { BatchContext } from './context'
import type { LoadedVersion } from './loaded'

/** Input columns as the model inputs of the same names, without a copy; columns per request are spread over the rows. */
export function mapInputs(version: LoadedVersion, batch: BatchContext): void {
  for (const { column, width, inner } of version.mappedInputs) {
    const give = version.modelInputs.into[column.name]!
    const shape = [batch.rows, ...inner]
    const data = batch.inputs[column.name] as DenseArray | Strings
    if (column.per === 'row') give(shape, data)
    else if ('spans' in data) give(shape, spread(data, batch.requestOf))
    else {
      const rows = give(shape) as Float32Array
      for (let i = 0; i < batch.rows; i++) {
        const begin = batch.requestOf[i]! * width
        for (let j = 0; j < width; j++) rows[i * width + j] = (data as Float32Array)[begin + j]!
      }
    }
  }
}

/** Model outputs into the output columns of the same names. */
export function mapOutputs(version: LoadedVersion, from: Tensors, batch: BatchContext): void {
  for (const { column, width } of version.mappedOutputs) {
    const tensor = from[column.name]
    const into = batch.outputs[column.name]!
    if (tensor === undefined) throw new Error(`the model gave no output '${column.name}'`)
    if (tensor.data.length !== batch.rows * width)
      throw new Error(
        `model output '${column.name}' has shape [${tensor.shape.join(',')}]; ` +
          `${batch.rows} rows of [${column.shape.join(',')}] were expected`,
      )
    if ('spans' in into) copyStrings(tensor.data as Strings, into)
    else (into as Float32Array).set(tensor.data as Float32Array)
  }
}

/** Each row gets its request's string: the same bytes, not a copy. */
function spread({ spans, heap }: Strings, requestOf: Uint32Array): Strings {
  const spread = new Uint32Array(2 * requestOf.length)
  for (let i = 0; i < requestOf.length; i++) {
    spread[2 * i] = spans[2 * requestOf[i]!]!
    spread[2 * i + 1] = spans[2 * requestOf[i]! + 1]!
  }
  return new Strings(spread, heap, requestOf.length)
}

function copyStrings(strings: Strings, into: StringsWriter): void {
  for (let i = 0; i < strings.length; i++) into.set(i, strings.bytes(i))
}
