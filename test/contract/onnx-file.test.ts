import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { denseArray, Strings, type DenseArray, type DenseDType } from '@millrace/base'
import { writeOnnx, type OnnxGraph, type Tensor, type TensorDType, type Tensors } from '@millrace/engine'
import { EngineThread, textsOf } from './support/engine-thread'

/* What `writeOnnx` writes means to onnxruntime what it was meant to mean. */

let thread: EngineThread
let folder: string
beforeAll(() => {
  thread = new EngineThread()
  folder = mkdtempSync(join(tmpdir(), 'millrace-onnx-'))
})
afterAll(async () => {
  await thread.end()
  rmSync(folder, { recursive: true })
})

let files = 0
async function load(graph: OnnxGraph): Promise<number> {
  const path = join(folder, `${files++}.onnx`)
  writeFileSync(path, writeOnnx(graph))
  return (await thread.load('onnxruntime', { format: 'onnx', path })).model
}

function f32(shape: readonly number[], values: readonly number[]): Tensor {
  return { dtype: 'f32', shape, data: Float32Array.from(values) }
}

function numbers(tensors: Tensors, name: string): number[] {
  return Array.from(tensors[name]!.data as ArrayLike<number | bigint>, Number)
}

const dtypes: readonly DenseDType[] = ['f32', 'f64', 'i8', 'u8', 'i16', 'u16', 'i32', 'u32', 'i64', 'u64', 'bool']

test.each(dtypes)('%s goes in and out unchanged, from shared memory too', async (dtype) => {
  const shape = ['N', 2]
  const model = await load({
    inputs: [{ name: 'x', dtype, shape }],
    outputs: [{ name: 'y', dtype, shape }],
    weights: {},
    nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }],
  })
  const data = denseArray(dtype, 6)
  for (let i = 0; i < 6; i++) data[i] = dtype.endsWith('64') && dtype !== 'f64' ? BigInt(i % 2) : i % 2
  const shared = new (data.constructor as new (buffer: SharedArrayBuffer) => DenseArray)(
    new SharedArrayBuffer(data.byteLength),
  )
  ;(shared as Float32Array).set(data as Float32Array)
  for (const input of [data, shared]) {
    const answer = await thread.run(model, { x: { dtype, shape: [3, 2], data: input } })
    expect(answer['y']!.dtype).toBe(dtype)
    expect(answer['y']!.data.constructor.name).toBe(data.constructor.name)
    expect(numbers(answer, 'y')).toEqual([0, 1, 0, 1, 0, 1])
  }
})

test('the largest 64-bit numbers stay whole', async () => {
  const model = await load({
    inputs: [{ name: 'x', dtype: 'u64', shape: ['N'] }],
    outputs: [{ name: 'y', dtype: 'u64', shape: ['N'] }],
    weights: {},
    nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }],
  })
  const data = BigUint64Array.of(2n ** 64n - 1n, 2n ** 53n + 1n)
  expect([
    ...((await thread.run(model, { x: { dtype: 'u64', shape: [2], data } }))['y']!.data as BigUint64Array),
  ]).toEqual([...data])
})

test('attributes of every kind arrive', async () => {
  const model = await load({
    inputs: [{ name: 'x', dtype: 'f32', shape: ['N', 2] }],
    outputs: [
      { name: 'leaky', dtype: 'f32', shape: ['N', 2] },
      { name: 'turned', dtype: 'f32', shape: [2, 'N'] },
      { name: 'joined', dtype: 'f32', shape: ['M', 2] },
      { name: 'moved', dtype: 'f32', shape: ['N', 2] },
      { name: 'listed', dtype: 'f32', shape: [2] },
      { name: 'edged', dtype: 'f32', shape: ['N', 4] },
    ],
    weights: { pads: { dtype: 'i64', shape: [4], data: BigInt64Array.of(0n, 1n, 0n, 1n) } },
    nodes: [
      { op: 'LeakyRelu', inputs: ['x'], outputs: ['leaky'], attributes: { alpha: { float: 0.25 } } },
      { op: 'Transpose', inputs: ['x'], outputs: ['turned'], attributes: { perm: { ints: [1, 0] } } },
      // A negative number takes all ten bytes of a varint.
      { op: 'Concat', inputs: ['x', 'leaky'], outputs: ['joined'], attributes: { axis: { int: -2 } } },
      { op: 'Constant', inputs: [], outputs: ['step'], attributes: { value: { tensor: f32([2], [10, 20]) } } },
      { op: 'Add', inputs: ['x', 'step'], outputs: ['moved'] },
      { op: 'Constant', inputs: [], outputs: ['listed'], attributes: { value_floats: { floats: [1.5, -2.5] } } },
      { op: 'Pad', inputs: ['x', 'pads'], outputs: ['edged'], attributes: { mode: { text: 'edge' } } },
    ],
  })
  const answer = await thread.run(model, { x: f32([2, 2], [1, -2, -3, 4]) })
  expect(numbers(answer, 'leaky')).toEqual([1, -0.5, -0.75, 4])
  expect(numbers(answer, 'turned')).toEqual([1, -3, -2, 4])
  expect(numbers(answer, 'joined')).toEqual([1, -2, -3, 4, 1, -0.5, -0.75, 4])
  expect(numbers(answer, 'moved')).toEqual([11, 18, 7, 24])
  expect(numbers(answer, 'listed')).toEqual([1.5, -2.5])
  expect(numbers(answer, 'edged')).toEqual([1, 1, -2, -2, -3, -3, 4, 4])
  expect(answer['turned']!.shape).toEqual([2, 2])
})

test('two inputs, one of them integers, reach the right places', async () => {
  const model = await load({
    inputs: [
      { name: 'id', dtype: 'i64', shape: ['N'] },
      { name: 'x', dtype: 'f32', shape: ['N', 2] },
    ],
    outputs: [{ name: 'y', dtype: 'f32', shape: ['N', 2] }],
    weights: { table: f32([3, 2], [100, 200, 300, 400, 500, 600]) },
    nodes: [
      { op: 'Gather', inputs: ['table', 'id'], outputs: ['rows'] },
      { op: 'Add', inputs: ['rows', 'x'], outputs: ['y'] },
    ],
  })
  const id: Tensor = { dtype: 'i64', shape: [2], data: BigInt64Array.of(2n, 0n) }
  expect(numbers(await thread.run(model, { x: f32([2, 2], [1, 2, 3, 4]), id }), 'y')).toEqual([501, 602, 103, 204])
})

test('an error of the library inside a run is its error, and the model runs on', async () => {
  const model = await load({
    inputs: [
      { name: 'table', dtype: 'f32', shape: ['N'] },
      { name: 'id', dtype: 'i64', shape: ['M'] },
    ],
    outputs: [{ name: 'y', dtype: 'f32', shape: ['M'] }],
    weights: {},
    nodes: [{ op: 'Gather', inputs: ['table', 'id'], outputs: ['y'] }],
  })
  const ask = (id: bigint): Promise<Tensors> =>
    thread.run(model, { table: f32([2], [5, 6]), id: { dtype: 'i64', shape: [1], data: BigInt64Array.of(id) } })
  await expect(ask(7n)).rejects.toThrow(/Gather/)
  expect(numbers(await ask(1n), 'y')).toEqual([6])
})

test('an operation that does not exist is refused at load, with its name and the file', async () => {
  const graph: OnnxGraph = {
    inputs: [{ name: 'x', dtype: 'f32', shape: ['N'] }],
    outputs: [{ name: 'y', dtype: 'f32', shape: ['N'] }],
    weights: {},
    nodes: [{ op: 'Flibber', inputs: ['x'], outputs: ['y'] }],
  }
  await expect(load(graph)).rejects.toThrow(/\d+\.onnx: .*Flibber/)
})

test('strings go in and out, from shared memory too, and come from weights', async () => {
  const model = await load({
    inputs: [
      { name: 'words', dtype: 'string', shape: ['N', 2] },
      { name: 'id', dtype: 'i64', shape: ['M'] },
    ],
    outputs: [
      { name: 'same', dtype: 'string', shape: ['N', 2] },
      { name: 'numbers', dtype: 'f32', shape: ['N', 2] },
      { name: 'label', dtype: 'string', shape: ['M'] },
    ],
    weights: { labels: { dtype: 'string', shape: [3], data: Strings.of(['no', 'perhaps', 'ja, natürlich']) } },
    nodes: [
      { op: 'Identity', inputs: ['words'], outputs: ['same'] },
      { op: 'Cast', inputs: ['words'], outputs: ['numbers'], attributes: { to: { int: 1 } } },
      { op: 'Gather', inputs: ['labels', 'id'], outputs: ['label'] },
    ],
  })
  const words = Strings.of(['1.5', '-2', '1e3', '7'])
  const shared = Buffer.from(new SharedArrayBuffer(words.heap.length + 5), 5)
  shared.set(words.heap)
  for (const heap of [words.heap, shared]) {
    const answer = await thread.run(model, {
      words: { dtype: 'string', shape: [2, 2], data: new Strings(words.spans, heap, 4) },
      id: { dtype: 'i64', shape: [2], data: BigInt64Array.of(2n, 0n) },
    })
    expect(answer['same']).toMatchObject({ dtype: 'string', shape: [2, 2] })
    expect(textsOf(answer, 'same')).toEqual(['1.5', '-2', '1e3', '7'])
    expect(numbers(answer, 'numbers')).toEqual([1.5, -2, 1000, 7])
    expect(textsOf(answer, 'label')).toEqual(['ja, natürlich', 'no'])
  }
})

test('an empty batch of strings, empty strings and long ones', async () => {
  const model = await load(echo('string'))
  for (const texts of [[], ['', 'é'.repeat(100_000), '']]) {
    const answer = await thread.run(model, { x: { dtype: 'string', shape: [texts.length], data: Strings.of(texts) } })
    expect(textsOf(answer, 'y')).toEqual(texts)
  }
})

test('bytes that are no text are refused by name, and the model runs on', async () => {
  const model = await load(echo('string'))
  const data = Strings.of(['fine', Buffer.of(0xff, 0xfe)])
  await expect(thread.run(model, { x: { dtype: 'string', shape: [2], data } })).rejects.toThrow(
    'input `x`: string 1 is not UTF-8',
  )
  const answer = await thread.run(model, { x: { dtype: 'string', shape: [1], data: Strings.of(['fine']) } })
  expect(textsOf(answer, 'y')).toEqual(['fine'])
})

function echo(dtype: TensorDType): OnnxGraph {
  return {
    inputs: [{ name: 'x', dtype, shape: ['N'] }],
    outputs: [{ name: 'y', dtype, shape: ['N'] }],
    weights: {},
    nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }],
  }
}

test('a float16 output is refused at load, with its name', async () => {
  const bytes = Buffer.from(
    writeOnnx({
      inputs: [{ name: 'x', dtype: 'f32', shape: ['N'] }],
      outputs: [{ name: 'half', dtype: 'f32', shape: ['N'] }],
      weights: {},
      nodes: [{ op: 'Cast', inputs: ['x'], outputs: ['half'], attributes: { to: { int: 10 } } }],
    }),
  )
  // The output's declared type: the last `elem_type` (08 01) of the file becomes a float16's (08 0a).
  bytes[bytes.lastIndexOf(Buffer.from([0x08, 0x01, 0x12])) + 1] = 10
  const path = join(folder, 'half.onnx')
  writeFileSync(path, bytes)
  await expect(thread.load('onnxruntime', { format: 'onnx', path })).rejects.toThrow(/output `half` is float16/)
})

test('a weight that does not fill its shape is refused by name', () => {
  const graph = { inputs: [], outputs: [], nodes: [], weights: { w: f32([3], [1, 2]) } }
  expect(() => writeOnnx(graph)).toThrow('weight `w` has 2 values for shape [3]')
})
