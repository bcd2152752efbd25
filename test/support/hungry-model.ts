import { writeOnnx } from '@millrace/engine'

/** More bytes than a process can address: an allocation that fails at once, and touches nothing. */
const hugeElements = 2n ** 46n

/**
 * `y = x + 1` over f32[*,1], as an ONNX file. For a batch of more than `rowsMax` rows, and for one with a row below
 * zero, it asks for memory that no machine has.
 */
export function hungryModel(rowsMax: number): Uint8Array {
  const i64 = (n: bigint) => ({ dtype: 'i64' as const, shape: [1], data: BigInt64Array.of(n) })
  const f32 = (n: number) => ({ dtype: 'f32' as const, shape: [1], data: Float32Array.of(n) })
  return writeOnnx({
    inputs: [{ name: 'x', dtype: 'f32', shape: ['N', 1] }],
    outputs: [{ name: 'y', dtype: 'f32', shape: ['N', 1] }],
    weights: { most: i64(BigInt(rowsMax)), huge: i64(hugeElements), small: i64(1n), nothing: f32(0), one: f32(1) },
    nodes: [
      { op: 'Shape', inputs: ['x'], outputs: ['rows'], attributes: { end: { int: 1 } } },
      { op: 'Greater', inputs: ['rows', 'most'], outputs: ['many'] },
      { op: 'ReduceMin', inputs: ['x'], outputs: ['least'], attributes: { keepdims: { int: 0 } } },
      { op: 'Less', inputs: ['least', 'nothing'], outputs: ['negative'] },
      { op: 'Or', inputs: ['many', 'negative'], outputs: ['hungry'] },
      { op: 'Where', inputs: ['hungry', 'huge', 'small'], outputs: ['elements'] },
      { op: 'ConstantOfShape', inputs: ['elements'], outputs: ['zeros'] },
      { op: 'ReduceMax', inputs: ['zeros'], outputs: ['zero'], attributes: { keepdims: { int: 1 } } },
      { op: 'Add', inputs: ['x', 'zero'], outputs: ['same'] },
      { op: 'Add', inputs: ['same', 'one'], outputs: ['y'] },
    ],
  })
}
