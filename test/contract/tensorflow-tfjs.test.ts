import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { denseArray, seededRandom, type DenseDType } from '@millrace/base'
import { tensorflowFolder, type Tensor, type Tensors, type TensorSpec } from '@millrace/engine'
import { describeWith } from '../support/extras'
import { EngineThread } from './support/engine-thread'
import { computeMlp, makeMlp, rowsFor } from './support/mlp'
import { distance } from './support/numbers'
import { dims, placeholder, writeGraph, writeGraphMlp, type GraphNode } from './support/tfjs-files'

/* TFJS models on TensorFlow: each is one graph, written at its first load; where it cannot be, that is said. */

describeWith('tensorflow')('a TFJS model on TensorFlow', () => {
  const home = tensorflowFolder(process.env)
  const before = process.env['MILLRACE_ENGINES_FOLDER']
  const folder = mkdtempSync(join(tmpdir(), 'millrace-graphs-'))
  const graphs = join(folder, 'engines/graphs')
  let thread: EngineThread
  beforeAll(() => {
    mkdirSync(join(folder, 'engines'))
    symlinkSync(home, join(folder, 'engines/tensorflow'))
    process.env['MILLRACE_ENGINES_FOLDER'] = join(folder, 'engines')
    execFileSync(process.execPath, [join(__dirname, 'support/write-layers.js'), join(folder, 'layers')])
    thread = new EngineThread()
  })
  afterAll(async () => {
    await thread.end()
    rmSync(folder, { recursive: true })
    if (before === undefined) delete process.env['MILLRACE_ENGINES_FOLDER']
    else process.env['MILLRACE_ENGINES_FOLDER'] = before
  })
  beforeEach(() => rmSync(graphs, { recursive: true, force: true }))

  const fileOf = (path: string) => ({ format: 'tfjs', path }) as const

  /** The kept entries: each has `inputs`, or a `reason` for which there is no graph. */
  function entries(): { inputs?: unknown; reason?: string }[] {
    if (!existsSync(graphs)) return []
    return readdirSync(graphs).map(
      (key) => (JSON.parse(readFileSync(join(graphs, key, 'entry.json'), 'utf8')) as { entry: object }).entry,
    )
  }

  const real = (random: () => number): number => 4 * random() - 2

  function inputsFor(specs: readonly TensorSpec[], rows: number, value: typeof real): Tensors {
    const random = seededRandom(rows)
    return Object.fromEntries(
      specs.map(({ name, dtype, shape }) => {
        const filled = shape.map((n, d) => n ?? (d === 0 ? rows : 5))
        const elements = filled.reduce((product, n) => product * n, 1)
        const data = denseArray(dtype as DenseDType, elements) as Float32Array
        for (let i = 0; i < elements; i++) data[i] = dtype === 'f32' ? value(random) : Math.floor(3 * random())
        return [name, { dtype, shape: filled, data } as Tensor]
      }),
    )
  }

  /** Both engines say the same, at batch sizes that no graph was written or compared at. */
  async function expectSame(path: string, tolerance = 1e-5, value = real): Promise<void> {
    const [ours, theirs] = [await thread.load('tensorflow', fileOf(path)), await thread.load('tfjs', fileOf(path))]
    expect(ours.inputs).toEqual(theirs.inputs)
    expect(ours.outputs).toEqual(theirs.outputs)
    for (const rows of [1, 2, 10]) {
      const inputs = inputsFor(ours.inputs, rows, value)
      const [a, b] = [await thread.run(ours.model, inputs), await thread.run(theirs.model, inputs)]
      expect(Object.keys(a)).toEqual(Object.keys(b))
      for (const name in b) {
        expect(a[name]!.shape).toEqual(b[name]!.shape)
        expect(a[name]!.dtype).toBe(b[name]!.dtype)
        expect(distance(a[name]!.data as Float32Array, b[name]!.data as Float32Array)).toBeLessThan(tolerance)
      }
    }
  }

  const float = { T: { type: 'DT_FLOAT' } }
  const random = seededRandom(3)
  const weight = (name: string, ...shape: number[]) => ({
    name,
    shape,
    data: Float32Array.from({ length: shape.reduce((product, n) => product * n, 1) }, () => 2 * random() - 1),
  })
  const steps = (...names: string[]) => ({ list: { s: names.map((name) => Buffer.from(name).toString('base64')) } })

  describe('operations that the converter fused', () => {
    const matMul = (name: string, input: string[], fused: string[], more: object = {}): GraphNode => ({
      name,
      op: '_FusedMatMul',
      input,
      attr: {
        ...float,
        transpose_a: { b: false },
        transpose_b: { b: false },
        fused_ops: steps(...fused),
        num_args: { i: String(input.length - 2) },
        ...more,
      },
    })
    const image = {
      strides: { list: { i: ['1', '1', '1', '1'] } },
      padding: { s: Buffer.from('SAME').toString('base64') },
    }
    const conv = (op: string, name: string, input: string[], fused: string[]): GraphNode => ({
      name,
      op,
      input,
      attr: {
        ...float,
        ...image,
        data_format: { s: Buffer.from('NHWC').toString('base64') },
        dilations: { list: { i: ['1', '1', '1', '1'] } },
        fused_ops: steps(...fused),
        num_args: { i: String(input.length - 2) },
      },
    })

    test.each([['Relu'], ['Relu6'], ['Elu'], ['Sigmoid']])('MatMul, BiasAdd, %s', async (activation) => {
      const nodes = [placeholder('x', 'DT_FLOAT', [-1, 6]), matMul('y', ['x', 'w', 'b'], ['BiasAdd', activation])]
      await expectSame(writeGraph(join(folder, `fused-${activation}`), nodes, [weight('w', 6, 4), weight('b', 4)]))
      expect(entries()).toEqual([{ inputs: expect.anything(), outputs: expect.anything() }])
    })

    test('MatMul with Prelu, LeakyRelu, and nothing', async () => {
      const nodes = [
        placeholder('x', 'DT_FLOAT', [-1, 6]),
        matMul('a', ['x', 'w', 'b', 'alpha'], ['BiasAdd', 'Prelu']),
        matMul('c', ['a', 'v', 'b'], ['BiasAdd', 'LeakyRelu'], { leakyrelu_alpha: { f: 0.3 } }),
        matMul('y', ['c', 'v', 'b'], ['BiasAdd']),
      ]
      const weights = [weight('w', 6, 4), weight('b', 4), weight('alpha', 4), weight('v', 4, 4)]
      await expectSame(writeGraph(join(folder, 'fused-more'), nodes, weights))
      expect(entries()).toEqual([{ inputs: expect.anything(), outputs: expect.anything() }])
    })

    test('convolutions', async () => {
      const nodes = [
        placeholder('x', 'DT_FLOAT', [-1, 5, 5, 3]),
        conv('_FusedConv2D', 'a', ['x', 'w', 'b'], ['BiasAdd', 'Relu']),
        conv('FusedDepthwiseConv2dNative', 'y', ['a', 'd', 'b'], ['BiasAdd', 'Relu6']),
      ]
      await expectSame(
        writeGraph(join(folder, 'fused-conv'), nodes, [
          weight('w', 3, 3, 3, 4),
          weight('b', 4),
          weight('d', 2, 2, 4, 1),
        ]),
      )
      expect(entries()).toEqual([{ inputs: expect.anything(), outputs: expect.anything() }])
    })
  })

  test('64-bit integers go in and out as they do in TFJS', async () => {
    const nodes: GraphNode[] = [
      placeholder('id', 'DT_INT64', [-1]),
      {
        name: 'rows',
        op: 'GatherV2',
        input: ['table', 'id', 'axis'],
        attr: { Tparams: { type: 'DT_FLOAT' }, Tindices: { type: 'DT_INT64' }, Taxis: { type: 'DT_INT32' } },
      },
      {
        name: 'best',
        op: 'ArgMax',
        input: ['rows', 'one'],
        attr: { ...float, Tidx: { type: 'DT_INT32' }, output_type: { type: 'DT_INT64' } },
      },
    ]
    const signature = {
      inputs: { id: { name: 'id:0', dtype: 'DT_INT64', tensorShape: dims([-1]) } },
      outputs: { best: { name: 'best:0', dtype: 'DT_INT64', tensorShape: dims([-1]) } },
    }
    const weights = [
      weight('table', 3, 8),
      { name: 'axis', shape: [], data: Int32Array.of(0) },
      { name: 'one', shape: [], data: Int32Array.of(1) },
    ]
    await expectSame(writeGraph(join(folder, 'int64'), nodes, weights, signature))
    expect(entries()).toEqual([{ inputs: expect.anything(), outputs: expect.anything() }])
  })

  test.each(['DT_UINT8', 'DT_INT8'])('%s goes in and out as it does in TFJS', async (dtype) => {
    const nodes: GraphNode[] = [
      placeholder('pixels', dtype, [-1, 3]),
      { name: 'real', op: 'Cast', input: ['pixels'], attr: { SrcT: { type: dtype }, DstT: { type: 'DT_FLOAT' } } },
      { name: 'half', op: 'Mul', input: ['real', 'w'], attr: float },
      { name: 'kept', op: 'Identity', input: ['pixels'], attr: { T: { type: dtype } } },
    ]
    const port = (name: string, type: string) => ({ name: `${name}:0`, dtype: type, tensorShape: dims([-1, 3]) })
    const signature = {
      inputs: { pixels: port('pixels', dtype) },
      outputs: { half: port('half', 'DT_FLOAT'), same: port('kept', dtype) },
    }
    await expectSame(writeGraph(join(folder, dtype), nodes, [weight('w', 3)], signature))
    expect(entries()).toEqual([{ inputs: expect.anything(), outputs: expect.anything() }])
  })

  test('a loop is one graph, constants in it too', async () => {
    const node = (name: string, op: string, input: string[], type = 'DT_FLOAT', more: object = {}): GraphNode => ({
      name,
      op,
      input,
      attr: { T: { type }, ...more },
    })
    const whole = 'DT_INT32'
    const frame = {
      frame_name: { s: Buffer.from('loop').toString('base64') },
      is_constant: { b: false },
      parallel_iterations: { i: '1' },
    }
    // Three times twice as much.
    const nodes: GraphNode[] = [
      placeholder('x', 'DT_FLOAT', [-1, 2]),
      node('x_enter', 'Enter', ['x'], 'DT_FLOAT', frame),
      node('i_enter', 'Enter', ['zero'], whole, frame),
      node('x_merge', 'Merge', ['x_enter', 'x_next'], 'DT_FLOAT', { N: { i: '2' } }),
      node('i_merge', 'Merge', ['i_enter', 'i_next'], whole, { N: { i: '2' } }),
      node('less', 'Less', ['i_merge', 'three'], whole),
      { name: 'go_on', op: 'LoopCond', input: ['less'] },
      node('x_switch', 'Switch', ['x_merge', 'go_on']),
      node('i_switch', 'Switch', ['i_merge', 'go_on'], whole),
      node('x_body', 'Identity', ['x_switch:1']),
      node('i_body', 'Identity', ['i_switch:1'], whole),
      node('twice', 'AddV2', ['x_body', 'x_body']),
      node('more', 'AddV2', ['i_body', 'one'], whole),
      node('x_next', 'NextIteration', ['twice']),
      node('i_next', 'NextIteration', ['more'], whole),
      node('x_exit', 'Exit', ['x_switch']),
      node('y', 'Identity', ['x_exit']),
    ]
    const weights = [
      { name: 'zero', shape: [], data: Int32Array.of(0) },
      { name: 'three', shape: [], data: Int32Array.of(3), after: 'i_merge' },
      { name: 'one', shape: [], data: Int32Array.of(1), after: 'i_body' },
    ]
    const port = (name: string) => ({ name: `${name}:0`, dtype: 'DT_FLOAT', tensorShape: dims([-1, 2]) })
    const signature = { inputs: { x: port('x') }, outputs: { y: port('y') } }
    const path = writeGraph(join(folder, 'loop'), nodes, weights, signature)
    await expectSame(path)
    expect(entries()).toEqual([{ inputs: expect.anything(), outputs: expect.anything() }])
    const { model } = await thread.load('tensorflow', fileOf(path))
    const { y } = await thread.run(model, { x: { dtype: 'f32', shape: [1, 2], data: Float32Array.of(1, -2) } })
    expect([...(y!.data as Float32Array)]).toEqual([8, -16])
  })

  test('quantised weights are the numbers that they stand for', async () => {
    const at = join(folder, 'quantised')
    const path = writeGraphMlp(at, makeMlp(5), true)
    const json = JSON.parse(readFileSync(path, 'utf8')) as {
      weightsManifest: { paths: string[]; weights: { shape: number[]; quantization?: object }[] }[]
    }
    const kinds = [
      { dtype: 'uint8', scale: 0.01, min: -1.2 },
      { dtype: 'uint16', scale: 0.00003, min: -1 },
      { dtype: 'float16' },
    ]
    const bytes = json.weightsManifest[0]!.weights.map((entry, i) => {
      const kind = kinds[i % 3]!
      entry.quantization = kind
      const elements = entry.shape.reduce((product, n) => product * n, 1)
      const next = seededRandom(i)
      if (kind.dtype === 'uint8') return Buffer.from(Uint8Array.from({ length: elements }, () => 256 * next()))
      // Half floats of both signs, subnormal and normal, but no infinity.
      const words = Uint16Array.from({ length: elements }, () =>
        kind.dtype === 'uint16' ? 65536 * next() : (next() < 0.5 ? 0x8000 : 0) | (0x3c00 * next()),
      )
      return Buffer.from(words.buffer)
    })
    json.weightsManifest[0]!.paths = ['quantised.bin']
    writeFileSync(join(at, 'quantised.bin'), Buffer.concat(bytes))
    writeFileSync(path, JSON.stringify(json))
    await expectSame(path)
    expect(entries()).toEqual([{ inputs: expect.anything(), outputs: expect.anything() }])
  })

  test.each(['pictures', 'series', 'sizes', 'two', 'words'])('layers: %s', async (name) => {
    // An embedding takes its words as reals.
    const words = name === 'words' ? (random: () => number) => Math.floor(20 * random()) : undefined
    await expectSame(join(folder, 'layers', name, 'model.json'), 2e-5, words)
    expect(entries()).toEqual([{ inputs: expect.anything(), outputs: expect.anything() }])
  })

  test('a model that cannot be one graph runs as it is, and says why', async () => {
    await expectSame(join(folder, 'layers/free/model.json'))
    const reason = /has free dimensions that are not its rows/
    expect(entries()).toEqual([{ reason: expect.stringMatching(reason) }])
    expect(await thread.warnings()).toContainEqual(
      expect.stringMatching(/free\/model\.json runs operation by operation.*free dimensions/),
    )
    // The reason is kept: the next load says it again.
    const told = (await thread.warnings()).length
    await thread.load('tensorflow', fileOf(join(folder, 'layers/free/model.json')))
    expect((await thread.warnings()).length).toBe(told + 1)
  })

  describe('kept graphs', () => {
    const mlp = makeMlp(9)
    let path: string
    beforeAll(() => {
      path = writeGraphMlp(join(folder, 'kept'), mlp, true)
    })
    const data = rowsFor(mlp, 4, 1)
    const expectRight = async (on: EngineThread): Promise<void> => {
      const { model } = await on.load('tensorflow', fileOf(path))
      const answer = await on.run(model, { features: { dtype: 'f32', shape: [4, mlp.width], data } })
      expect(distance(answer['score']!.data as Float32Array, computeMlp(mlp, data))).toBeLessThan(2e-6)
    }
    const theEntry = (): string => join(graphs, readdirSync(graphs)[0]!)

    test.each([
      ['a bit of the graph is another', (at: string) => flipBit(join(at, 'saved_model.pb'))],
      ['the graph is cut off', (at: string) => writeFileSync(join(at, 'saved_model.pb'), 'x')],
      ['the entry is empty', (at: string) => writeFileSync(join(at, 'entry.json'), '')],
      ['the graph is gone', (at: string) => rmSync(join(at, 'saved_model.pb'))],
      ['all is gone', (at: string) => rmSync(at, { recursive: true })],
    ])('are written again where %s', async (_, spoil) => {
      await expectRight(thread)
      const good = readFileSync(join(theEntry(), 'saved_model.pb'))
      spoil(theEntry())
      await expectRight(thread)
      expect(readFileSync(join(theEntry(), 'saved_model.pb')).equals(good)).toBe(true)
      expect(readdirSync(graphs)).toHaveLength(1)
    })

    test('are of their content: other weights, another graph', async () => {
      await expectRight(thread)
      const other = writeGraphMlp(join(folder, 'kept-other'), makeMlp(10), true)
      await thread.load('tensorflow', fileOf(other))
      expect(readdirSync(graphs)).toHaveLength(2)
    })

    test('are written by several threads at once without harm', async () => {
      const threads = Array.from({ length: 3 }, () => new EngineThread())
      try {
        await Promise.all(threads.map(expectRight))
        expect(readdirSync(graphs)).toHaveLength(1)
        expect(entries()).toEqual([{ inputs: expect.anything(), outputs: expect.anything() }])
      } finally {
        await Promise.all(threads.map((one) => one.end()))
      }
    })

    test('are not needed: where they cannot be kept, the graph runs all the same', async () => {
      writeFileSync(graphs, 'not a folder')
      await expectRight(thread)
      rmSync(graphs)
    })
  })

  function flipBit(path: string): void {
    const bytes = readFileSync(path)
    bytes[bytes.length >> 1]! ^= 1
    writeFileSync(path, bytes)
  }
})
