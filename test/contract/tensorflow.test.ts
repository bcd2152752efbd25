import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { denseArray, Strings, type DenseDType } from '@millrace/base'
import {
  writeSavedModel,
  type NodeDef,
  type Tensor,
  type TensorDType,
  type Tensors,
  type WrittenGraph,
} from '@millrace/engine'
import { describeWith } from '../support/extras'
import { EngineThread, textsOf, type LoadedModel } from './support/engine-thread'
import { floats, graphOf, node, placeholder } from './support/saved-models'

/* What is the TensorFlow engine's own: TensorFlow's types, signatures, errors and memory. */

describeWith('tensorflow')('a SavedModel', () => {
  let thread: EngineThread
  let folder: string
  beforeAll(() => {
    thread = new EngineThread()
    folder = mkdtempSync(join(tmpdir(), 'millrace-tensorflow-'))
  })
  afterAll(async () => {
    await thread.end()
    rmSync(folder, { recursive: true })
  })

  let written = 0
  function write(graph: WrittenGraph): string {
    const path = join(folder, String(written++))
    mkdirSync(path)
    writeFileSync(join(path, 'saved_model.pb'), writeSavedModel(graph))
    return path
  }
  const load = (graph: WrittenGraph, signature?: string): Promise<LoadedModel> =>
    thread.load('tensorflow', { format: 'savedmodel', path: write(graph), ...(signature && { signature }) })

  const types: Readonly<Record<TensorDType, string>> = {
    f32: 'DT_FLOAT',
    f64: 'DT_DOUBLE',
    i8: 'DT_INT8',
    u8: 'DT_UINT8',
    i16: 'DT_INT16',
    u16: 'DT_UINT16',
    i32: 'DT_INT32',
    u32: 'DT_UINT32',
    i64: 'DT_INT64',
    u64: 'DT_UINT64',
    bool: 'DT_BOOL',
    string: 'DT_STRING',
  }
  const of = (dtype: TensorDType): NodeDef['attr'] => ({ T: { type: types[dtype] } })

  /** `x` as `y`. */
  function echo(dtype: TensorDType): WrittenGraph {
    return graphOf(
      [placeholder('x', types[dtype]), node('y', 'Identity', ['x'], of(dtype))],
      [{ name: 'x', dtype, shape: [null, 2] }],
      [{ name: 'y', dtype, shape: [null, 2] }],
    )
  }

  test('what does not fit the memory is OutOfMemory, and what fits still runs', async () => {
    const zero = floats('zero', [], Float32Array.of(0))
    const fill = node('y', 'Fill', ['x', 'zero'], { T: { type: 'DT_FLOAT' }, index_type: { type: 'DT_INT64' } })
    const { model } = await load(
      graphOf(
        [placeholder('x', 'DT_INT64'), zero, fill],
        [{ name: 'x', dtype: 'i64', shape: [null] }],
        [{ name: 'y', dtype: 'f32', shape: [null] }],
      ),
    )
    const zeros = (n: bigint): Promise<Tensors> =>
      thread.run(model, { x: { dtype: 'i64', shape: [1], data: BigInt64Array.of(n) } })
    expect((await zeros(3n))['y']!.data).toEqual(new Float32Array(3))
    // More than a process can address.
    const failed = zeros(2n ** 45n)
    await expect(failed).rejects.toMatchObject({ name: 'OutOfMemory' })
    await expect(failed).rejects.toThrow(/OOM when allocating tensor/)
    expect((await zeros(2n))['y']!.data).toEqual(new Float32Array(2))
  })

  const dense = Object.keys(types).filter((dtype) => dtype !== 'string') as DenseDType[]
  test.each(dense)('%s goes in and out unchanged', async (dtype) => {
    const { model, inputs } = await load(echo(dtype))
    expect(inputs).toEqual([{ name: 'x', dtype, shape: [null, 2] }])
    const data = denseArray(dtype, 6)
    const big = dtype === 'i64' || dtype === 'u64'
    for (let i = 0; i < 6; i++) data[i] = big ? 2n ** 53n + BigInt(i) : i % 2
    const answer = await thread.run(model, { x: { dtype, shape: [3, 2], data } })
    expect(answer['y']).toEqual({ dtype, shape: [3, 2], data })
  })

  const strings = (...values: (string | Uint8Array)[]): Tensor => ({
    dtype: 'string',
    shape: [values.length / 2, 2],
    data: Strings.of(values),
  })

  test('strings go in and out: empty, short, long, and bytes that are no text', async () => {
    const { model } = await load(echo('string'))
    const texts = ['', 'twenty-two bytes long.', 'twenty-three bytes long', 'é'.repeat(5000)]
    for (const times of [1, 40]) {
      const values = Array.from({ length: times }, () => texts).flat()
      expect(textsOf(await thread.run(model, { x: strings(...values) }), 'y')).toEqual(values)
    }
    const answer = await thread.run(model, { x: strings(Buffer.of(0xff, 0), Buffer.alloc(100, 0xfe)) })
    const { spans, heap } = answer['y']!.data as Strings
    expect([...Buffer.from(heap).subarray(spans[0], spans[0]! + spans[1]!)]).toEqual([0xff, 0])
    expect(Buffer.from(heap).subarray(spans[2], spans[2]! + spans[3]!)).toEqual(Buffer.alloc(100, 0xfe))
  })

  test('a constant string is the same in every run', async () => {
    const label = 'a label of more than twenty-two bytes'
    const tensor = { dtype: 'DT_STRING', tensorShape: {}, stringVal: [Buffer.from(label)] }
    const { model, outputs } = await load(
      graphOf(
        [
          placeholder('x', 'DT_STRING'),
          { name: 'label', op: 'Const', attr: { dtype: { type: 'DT_STRING' }, value: { tensor } } },
          { name: 'y', op: 'StringJoin', input: ['x', 'label'], attr: { N: { i: 2 } } },
        ],
        [{ name: 'x', dtype: 'string', shape: [null, 2] }],
        [
          { name: 'y', dtype: 'string', shape: [null, 2] },
          { name: 'label', dtype: 'string', shape: [] },
        ],
      ),
    )
    expect(outputs.find(({ name }) => name === 'label')).toEqual({ name: 'label', dtype: 'string', shape: [] })
    for (let run = 0; run < 3; run++) {
      const answer = await thread.run(model, { x: strings('1 ', '2 ') })
      expect(textsOf(answer, 'y')).toEqual([`1 ${label}`, `2 ${label}`])
      expect(textsOf(answer, 'label')).toEqual([label])
      expect(answer['label']!.shape).toEqual([])
    }
  })

  test('an output that does not say its rank is asked for it', async () => {
    const { model, outputs } = await load(
      graphOf(
        [placeholder('x', 'DT_FLOAT'), node('y', 'Neg', ['x'])],
        [{ name: 'x', dtype: 'f32', shape: [null, 3] }],
        [{ name: 'y', dtype: 'f32', shape: null }],
      ),
    )
    expect(outputs).toEqual([{ name: 'y', dtype: 'f32', shape: [null, 3] }])
    const data = Float32Array.of(1, -2, 3)
    const answer = await thread.run(model, { x: { dtype: 'f32', shape: [1, 3], data } })
    expect(answer['y']!.data).toEqual(Float32Array.of(-1, 2, -3))
  })

  test('an empty batch is empty', async () => {
    const { model } = await load(echo('f32'))
    const answer = await thread.run(model, { x: { dtype: 'f32', shape: [0, 2], data: new Float32Array(0) } })
    expect(answer['y']).toEqual({ dtype: 'f32', shape: [0, 2], data: new Float32Array(0) })
  })

  test('a signature is chosen by name, and the names are told', async () => {
    const path = write(echo('f32'))
    const file = { format: 'savedmodel', path } as const
    await expect(thread.load('tensorflow', { ...file, signature: 'embed' })).rejects.toThrow(
      /no signature `embed`; it has serving_default/,
    )
    expect((await thread.load('tensorflow', { ...file, signature: 'serving_default' })).outputs).toHaveLength(1)
  })

  test('float16 and an input without a rank are refused by name', async () => {
    const half = echo('u16')
    const bytes = Buffer.from(writeSavedModel(half))
    const path = write(half)
    // Every type 17, uint16, becomes 19, half.
    for (let at = bytes.indexOf(Buffer.of(0x10, 17)); at >= 0; at = bytes.indexOf(Buffer.of(0x10, 17), at + 1))
      bytes[at + 1] = 19
    writeFileSync(join(path, 'saved_model.pb'), bytes)
    await expect(thread.load('tensorflow', { format: 'savedmodel', path })).rejects.toThrow(/`x` is float16/)
    const free = echo('f32')
    await expect(load({ ...free, inputs: [{ ...free.inputs[0]!, shape: null }] })).rejects.toThrow(
      /input `x` does not say how many dimensions/,
    )
  })

  test('a signature that names a tensor of another type is found out, not read', async () => {
    const graph = echo('f32')
    const { model } = await load({ ...graph, outputs: [{ ...graph.outputs[0]!, dtype: 'f64' }] })
    await expect(thread.run(model, { x: { dtype: 'f32', shape: [1, 2], data: new Float32Array(2) } })).rejects.toThrow(
      /`y`.*f32.*f64/,
    )
  })

  /** Rows of a table of 2, by their index. */
  const gather = graphOf(
    [
      placeholder('table', 'DT_FLOAT'),
      placeholder('id', 'DT_INT64'),
      { name: 'axis', op: 'Const', attr: { dtype: { type: 'DT_INT32' }, value: { tensor: zero('DT_INT32') } } },
      node('y', 'GatherV2', ['table', 'id', 'axis'], {
        Tparams: { type: 'DT_FLOAT' },
        Tindices: { type: 'DT_INT64' },
        Taxis: { type: 'DT_INT32' },
      }),
    ],
    [
      { name: 'table', dtype: 'f32', shape: [null] },
      { name: 'id', dtype: 'i64', shape: [null] },
    ],
    [{ name: 'y', dtype: 'f32', shape: [null] }],
  )
  function zero(dtype: string): { dtype: string; tensorShape: object; tensorContent: Uint8Array } {
    return { dtype, tensorShape: {}, tensorContent: new Uint8Array(4) }
  }
  const rows = (table: Float32Array, id: bigint): Tensors => ({
    table: { dtype: 'f32', shape: [table.length], data: table },
    id: { dtype: 'i64', shape: [1], data: BigInt64Array.of(id) },
  })

  test('an error inside a run names the node, leaves nothing, and the model runs on', async () => {
    const { model } = await load(gather)
    await expect(thread.run(model, rows(Float32Array.of(5, 6), 7n))).rejects.toThrow(/indices.*7.*\[0, 2\)[^]*node y/)
    expect((await thread.run(model, rows(Float32Array.of(5, 6), 1n)))['y']!.data).toEqual(Float32Array.of(6))
    // 4 MB in; 200 of them would be 800 MB.
    const table = new Float32Array(2 ** 20)
    await thread.runFailing(model, rows(table, -1n), 20)
    const before = await thread.resident()
    expect(await thread.runFailing(model, rows(table, -1n), 200)).toBe(200)
    expect((await thread.resident()) - before).toBeLessThan(200 * 2 ** 20)
  })

  test('runs leave no memory', async () => {
    const { model } = await load(echo('f32'))
    const x: Tensor = { dtype: 'f32', shape: [128, 2], data: new Float32Array(256) }
    const text = await load(echo('string'))
    const words = strings(
      ...Array.from({ length: 256 }, (_, i) => 'a text that is long enough for the heap '.repeat(1 + (i % 3))),
    )
    const round = async (): Promise<void> => {
      await thread.runMany(model, { x }, 5000)
      await thread.runMany(text.model, { x: words }, 500)
    }
    await round()
    const before = await thread.resident()
    await round()
    await round()
    // 10,000 batches of floats and 1,000 of strings are 10 MB and 20 MB in, and as much out.
    expect((await thread.resident()) - before).toBeLessThan(15 * 2 ** 20)
  })

  test('loads and unloads leave no memory', async () => {
    const file = { format: 'savedmodel', path: write(echo('f32')) } as const
    const round = async (times: number): Promise<void> => {
      for (let i = 0; i < times; i++) await thread.dispose((await thread.load('tensorflow', file)).model)
    }
    await round(20)
    const before = await thread.resident()
    await round(60)
    expect((await thread.resident()) - before).toBeLessThan(30 * 2 ** 20)
  })
})
