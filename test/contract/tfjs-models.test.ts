import { existsSync, mkdtempSync, readdirSync, rmSync, unlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Tensor, Tensors } from '@millrace/engine'
import { EngineThread, type LoadedModel } from './support/engine-thread'
import { makeMlp } from './support/mlp'
import { dims, placeholder, writeGraph, writeGraphMlp, writeLayersMlp, type GraphNode } from './support/tfjs-files'

/* What is TFJS's own: its tensors, its kinds of models, its operations. */

let thread: EngineThread
let folder: string
beforeAll(() => {
  thread = new EngineThread()
  folder = mkdtempSync(join(tmpdir(), 'millrace-tfjs-'))
})
afterAll(async () => {
  await thread.end()
  rmSync(folder, { recursive: true })
})

const load = (path: string): Promise<LoadedModel> => thread.load('tfjs', { format: 'tfjs', path })

function f32(shape: readonly number[], values: readonly number[]): Tensor {
  return { dtype: 'f32', shape, data: Float32Array.from(values) }
}

function numbers(tensors: Tensors, name: string): number[] {
  return Array.from(tensors[name]!.data as ArrayLike<number>)
}

const float = { T: { type: 'DT_FLOAT' } }

test.each(['graph', 'layers'] as const)('a %s model leaves no tensor behind, neither runs nor loads', async (kind) => {
  const mlp = makeMlp(3)
  const at = join(folder, `leak-${kind}`)
  const path = kind === 'graph' ? writeGraphMlp(at, mlp, false) : writeLayersMlp(at, mlp)
  const features = f32([2, 6], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
  const empty = await loadAndDispose(path)
  const { model } = await load(path)
  await thread.run(model, { features })
  const before = await thread.tensors()
  await thread.runMany(model, { features }, 1000)
  expect(await thread.tensors()).toBe(before)
  await thread.dispose(model)
  expect(await thread.tensors()).toBe(empty)
})

/** Tensors that are there when nothing is loaded, after a first load that may set things up for good. */
async function loadAndDispose(path: string): Promise<number> {
  await thread.dispose((await load(path)).model)
  return thread.tensors()
}

test('starting it leaves no handler for the exceptions of the process', async () => {
  await load(writeLayersMlp(join(folder, 'handlers'), makeMlp(1)))
  expect(await thread.listeners()).toBe(0)
})

test('i32 and bool go in and come out', async () => {
  const nodes = [
    placeholder('n', 'DT_INT32', [-1]),
    placeholder('on', 'DT_BOOL', [-1]),
    { name: 'twice', op: 'AddV2', input: ['n', 'n'], attr: { T: { type: 'DT_INT32' } } },
    { name: 'off', op: 'LogicalNot', input: ['on'] },
  ]
  const { model, inputs, outputs } = await load(writeGraph(join(folder, 'dtypes'), nodes))
  expect(inputs).toEqual([
    { name: 'n', dtype: 'i32', shape: [null] },
    { name: 'on', dtype: 'bool', shape: [null] },
  ])
  expect(outputs).toEqual([
    { name: 'twice', dtype: 'i32', shape: [null] },
    { name: 'off', dtype: 'bool', shape: [null] },
  ])
  const answer = await thread.run(model, {
    n: { dtype: 'i32', shape: [3], data: Int32Array.of(1, -2, 2 ** 30) },
    on: { dtype: 'bool', shape: [3], data: Uint8Array.of(1, 0, 1) },
  })
  expect(numbers(answer, 'twice')).toEqual([2, -4, -(2 ** 31)])
  expect(numbers(answer, 'off')).toEqual([0, 1, 0])
})

test('bytes go in as i32', async () => {
  const nodes = [
    placeholder('pixel', 'DT_UINT8', [-1]),
    { name: 'real', op: 'Cast', input: ['pixel'], attr: { SrcT: { type: 'DT_UINT8' }, DstT: { type: 'DT_FLOAT' } } },
  ]
  const { model, inputs } = await load(writeGraph(join(folder, 'bytes'), nodes))
  expect(inputs).toEqual([{ name: 'pixel', dtype: 'i32', shape: [null] }])
  const answer = await thread.run(model, { pixel: { dtype: 'i32', shape: [3], data: Int32Array.of(0, 7, 255) } })
  expect(numbers(answer, 'real')).toEqual([0, 7, 255])
})

test('whatever is not 0 is true', async () => {
  const cast = (from: string, to: string) => ({ SrcT: { type: from }, DstT: { type: to } })
  const nodes = [
    placeholder('x', 'DT_FLOAT', [-1]),
    placeholder('n', 'DT_INT32', [-1]),
    { name: 'x_on', op: 'Cast', input: ['x'], attr: cast('DT_FLOAT', 'DT_BOOL') },
    { name: 'n_on', op: 'Cast', input: ['n'], attr: cast('DT_INT32', 'DT_BOOL') },
    { name: 'whole', op: 'Cast', input: ['x'], attr: cast('DT_FLOAT', 'DT_INT32') },
  ]
  const { model } = await load(writeGraph(join(folder, 'true'), nodes))
  const answer = await thread.run(model, {
    x: f32([5], [0, 0.5, -0.1, NaN, 3.7]),
    n: { dtype: 'i32', shape: [3], data: Int32Array.of(0, 256, -1) },
  })
  expect(numbers(answer, 'x_on')).toEqual([0, 1, 1, 1, 1])
  expect(numbers(answer, 'n_on')).toEqual([0, 1, 1])
  expect(numbers(answer, 'whole').filter((_, i) => i !== 3)).toEqual([0, 0, 0, 3])
})

test('an operation without a wasm kernel runs on the JavaScript one, without leaving tensors', async () => {
  const einsum = {
    name: 'y',
    op: 'Einsum',
    input: ['a', 'b'],
    attr: { ...float, equation: { s: Buffer.from('ij,jk->ik').toString('base64') }, N: { i: '2' } },
  }
  const nodes = [placeholder('a', 'DT_FLOAT', [-1, 2]), einsum]
  const path = writeGraph(join(folder, 'einsum'), nodes, [
    { name: 'b', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
  ])
  const { model } = await load(path)
  const inputs = { a: f32([2, 2], [1, 1, 10, 100]) }
  expect(numbers(await thread.run(model, inputs), 'y')).toEqual([4, 6, 310, 420])
  const many = { a: { dtype: 'f32', shape: [2000, 2], data: new Float32Array(4000) } } as const
  await thread.runMany(model, many, 10)
  const [tensors, memory] = [await thread.tensors(), await thread.memory()]
  await thread.runMany(model, many, 200)
  expect(await thread.tensors()).toBe(tensors)
  // 200 copies of the input and the output are 6.4 MB.
  expect((await thread.memory()).arrayBuffers - memory.arrayBuffers).toBeLessThan(1_000_000)
})

test('an operation on complex numbers is refused with its name', async () => {
  const nodes: GraphNode[] = [
    placeholder('re', 'DT_FLOAT', [-1]),
    { name: 'c', op: 'Complex', input: ['re', 're'], attr: float },
    { name: 'y', op: 'ComplexAbs', input: ['c'] },
  ]
  await expect(load(writeGraph(join(folder, 'complex'), nodes))).rejects.toThrow(/Complex works on complex numbers/)
})

test('an operation that TFJS does not have is refused at load with its name', async () => {
  const nodes = [placeholder('x', 'DT_FLOAT', [-1]), { name: 'y', op: 'Flibber', input: ['x'], attr: float }]
  await expect(load(writeGraph(join(folder, 'unknown'), nodes))).rejects.toThrow(/does not have: Flibber/)
})

test('a string input is refused at load with its name', async () => {
  const nodes = [
    placeholder('words', 'DT_STRING', [-1]),
    { name: 'y', op: 'Identity', input: ['words'], attr: { T: { type: 'DT_STRING' } } },
  ]
  await expect(load(writeGraph(join(folder, 'string'), nodes))).rejects.toThrow(
    /input `words` is a string tensor.*preprocess/,
  )
})

test('a graph whose shapes depend on values runs', async () => {
  const nodes: GraphNode[] = [
    placeholder('x', 'DT_FLOAT', [-1]),
    {
      name: 'zero',
      op: 'Const',
      attr: { dtype: { type: 'DT_FLOAT' }, value: { tensor: { dtype: 'DT_FLOAT', tensorShape: { dim: [] } } } },
    },
    { name: 'positive', op: 'Greater', input: ['x', 'zero'], attr: float },
    { name: 'where', op: 'Where', input: ['positive'] },
  ]
  const zero = { name: 'zero', shape: [], data: Float32Array.of(0) }
  const signature = {
    inputs: { x: { name: 'x:0', dtype: 'DT_FLOAT', tensorShape: dims([-1]) } },
    outputs: { at: { name: 'where:0', dtype: 'DT_INT64', tensorShape: dims([-1, 1]) } },
  }
  const path = writeGraph(
    join(folder, 'where'),
    nodes.filter(({ op }) => op !== 'Const'),
    [zero],
    signature,
  )
  const { model, outputs } = await load(path)
  expect(outputs).toEqual([{ name: 'at', dtype: 'i32', shape: [null, 1] }])
  const answer = await thread.run(model, { x: f32([5], [-1, 2, 0, 3, 4]) })
  expect(numbers(answer, 'at')).toEqual([1, 3, 4])
  const before = await thread.tensors()
  await thread.runMany(model, { x: f32([5], [-1, 2, 0, 3, 4]) }, 100)
  expect(await thread.tensors()).toBe(before)
})

test('outputs come in the order and by the names of the signature', async () => {
  const nodes: GraphNode[] = [
    placeholder('p', 'DT_FLOAT', [-1]),
    { name: 'first', op: 'Neg', input: ['p'], attr: float },
    { name: 'second', op: 'Square', input: ['first'], attr: float },
  ]
  const tensor = (name: string) => ({ name: `${name}:0`, dtype: 'DT_FLOAT', tensorShape: dims([-1]) })
  const signature = { inputs: { x: tensor('p') }, outputs: { b: tensor('second'), a: tensor('first') } }
  const { model, inputs, outputs } = await load(writeGraph(join(folder, 'names'), nodes, [], signature))
  expect(inputs.map(({ name }) => name)).toEqual(['x'])
  expect(outputs.map(({ name }) => name)).toEqual(['b', 'a'])
  const answer = await thread.run(model, { x: f32([2], [3, -4]) })
  expect(numbers(answer, 'a')).toEqual([-3, 4])
  expect(numbers(answer, 'b')).toEqual([9, 16])
})

test('a missing weight file is named', async () => {
  const at = join(folder, 'shards')
  const path = writeGraphMlp(at, makeMlp(2), true)
  const shard = readdirSync(at).find((name) => name.includes('shard2'))!
  unlinkSync(join(at, shard))
  expect(existsSync(path)).toBe(true)
  await expect(load(path)).rejects.toThrow(shard)
})
