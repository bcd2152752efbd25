import { writeOnnx } from '@millrace/engine'

const width = 1024
const times = 300

/**
 * `y = x`, as an ONNX file, after 300 multiplications of matrices that are as wide as the largest x: a moment in native code
 * for 1, a second or so for 400, ten and more for 1,024. A thread cannot be ended there.
 */
export function heavyModel(): Uint8Array {
  const i64 = (...values: bigint[]) => ({
    dtype: 'i64' as const,
    shape: [values.length],
    data: BigInt64Array.from(values),
  })
  const identity = Float32Array.from({ length: width * width }, (_, i) => (i % (width + 1) === 0 ? 1 : 0))
  const steps = Array.from({ length: times }, (_, i) => ({
    op: 'MatMul',
    inputs: [i === 0 ? 'matrix' : `m${i - 1}`, 'matrix'],
    outputs: [`m${i}`],
  }))
  const int64 = { to: { int: 7 } }
  return writeOnnx({
    inputs: [{ name: 'x', dtype: 'f32', shape: ['N', 1] }],
    outputs: [{ name: 'y', dtype: 'f32', shape: ['N', 1] }],
    weights: {
      identity: { dtype: 'f32', shape: [width, width], data: identity },
      least: { dtype: 'f32', shape: [1], data: Float32Array.of(1) },
      one: i64(1n),
      starts: i64(0n, 0n),
    },
    nodes: [
      { op: 'ReduceMax', inputs: ['x'], outputs: ['most'], attributes: { keepdims: { int: 0 } } },
      { op: 'Max', inputs: ['most', 'least'], outputs: ['wide'] },
      { op: 'Cast', inputs: ['wide'], outputs: ['whole'], attributes: int64 },
      { op: 'Reshape', inputs: ['whole', 'one'], outputs: ['width'] },
      { op: 'Concat', inputs: ['width', 'width'], outputs: ['ends'], attributes: { axis: { int: 0 } } },
      { op: 'Slice', inputs: ['identity', 'starts', 'ends'], outputs: ['matrix'] },
      ...steps,
      { op: 'ReduceMax', inputs: [`m${times - 1}`], outputs: ['same'], attributes: { keepdims: { int: 0 } } },
      { op: 'Mul', inputs: ['x', 'same'], outputs: ['y'] },
    ],
  })
}
