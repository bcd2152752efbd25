/*
 * The TensorFlow engine against TensorFlow in Python, on the network of workflow mlp-64 as a SavedModel, one thread
 * each, in turns. Prints microseconds a run and a row, medians of 5 rounds:
 *
 *   npx tsc -b libs/engine && python3 -m venv /tmp/tf && /tmp/tf/bin/pip install tensorflow-cpu==2.21.0
 *   taskset -c 0 npx jiti bench/models/time-tensorflow.ts /tmp/tf/bin/python
 *
 * With paths of TFJS models after it, each as one graph against tfjs-node's own run operation by operation:
 *
 *   taskset -c 0 npx jiti bench/models/time-tensorflow.ts - node_modules/some-package/model.json
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { denseArray, seededRandom, type DenseDType } from '@millrace/base'
import {
  engines,
  findTensorflow,
  writeSavedModel,
  type Engine,
  type NodeDef,
  type Tensor,
  type Tensors,
} from '@millrace/engine'

async function main(): Promise<void> {
  const [python = 'python3', ...paths] = process.argv.slice(2)
  const kind = engines.find(({ name }) => name === 'tensorflow')!
  const engine = await kind.create({ threads: 1, device: 'cpu' })
  if (python !== '-') await againstPython(engine, python)
  for (const path of paths) await againstOperations(engine, resolve(path))
}

async function againstPython(engine: Engine, python: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-time-'))
  writeFileSync(join(folder, 'saved_model.pb'), mlp())
  const child = spawn(python, [join(__dirname, 'time-tensorflow.py'), folder], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })
  console.log(`TensorFlow in Python: ${String((await once(lines, 'line'))[0])}`)
  const model = await engine.load({ format: 'savedmodel', path: folder })
  for (const rows of [1, 32, 128, 512]) {
    const data = Float32Array.from({ length: 64 * rows }, (_, i) => (i % 17) / 17)
    const inputs: Tensors = { features: { dtype: 'f32', shape: [rows, 64], data } }
    const times = rows < 100 ? 2000 : 1000
    const [ours, theirs]: number[][] = [[], []]
    for (let round = 0; round < 5; round++) {
      ours!.push(await timeUs(() => model.run(inputs), times))
      child.stdin.write(`${rows} ${times}\n`)
      const [us, first] = String((await once(lines, 'line'))[0])
        .split(' ')
        .map(Number)
      const answer = (await model.run(inputs))['score']!.data as Float32Array
      if (!(Math.abs(answer[0]! - first!) < 1e-6)) throw new Error(`${answer[0]} is not ${first}`)
      theirs!.push(us!)
    }
    const ratios = ours!.map((us, i) => us / theirs![i]!)
    console.log(
      `batch ${rows}: engine ${row(ours!, rows)}, Python ${row(theirs!, rows)}, ratio ${median(ratios).toFixed(2)}`,
    )
  }
  child.stdin.end()
  await once(child, 'exit')
  model.dispose()
  rmSync(folder, { recursive: true })
}

interface TfjsNode {
  loadGraphModel(
    url: string,
  ): Promise<{ executeAsync(inputs: object, outputs?: string[]): Promise<TfjsTensor | TfjsTensor[]> }>
  tensor(data: unknown, shape: readonly number[], dtype: string): TfjsTensor
}
interface TfjsTensor {
  dataSync(): ArrayLike<number>
  dispose(): void
}

async function againstOperations(engine: Engine, path: string): Promise<void> {
  const home = findTensorflow(process.env)
  if ('reason' in home) throw new Error(home.reason)
  const model = await engine.load({ format: 'tfjs', path })
  const tf = createRequire(join(home.packages, 'package.json'))('@tensorflow/tfjs-node') as TfjsNode
  const plain = await tf.loadGraphModel(`file://${path}`)
  // TFJS remarks on every run that it need not be asynchronous; some need to be.
  console.warn = () => undefined
  for (const rows of [1, 8, 32]) {
    const inputs: Tensors = Object.fromEntries(model.inputs.map((spec) => [spec.name, madeUp(spec, rows)]))
    const byOperation = async (): Promise<void> => {
      const given = Object.entries(inputs).map(([name, { data, shape, dtype }]) => {
        return [name, tf.tensor(data, shape, dtype === 'f32' ? 'float32' : 'int32')] as const
      })
      const answer = [await plain.executeAsync(Object.fromEntries(given))].flat()
      for (const tensor of answer) tensor.dataSync()
      for (const tensor of [...answer, ...given.map(([, tensor]) => tensor)]) tensor.dispose()
    }
    const [ours, theirs]: number[][] = [[], []]
    for (let round = 0; round < 5; round++) {
      ours!.push(await timeUs(() => model.run(inputs), 3, 1))
      theirs!.push(await timeUs(byOperation, 3, 1))
    }
    console.log(
      `${path}, ${rows} rows: one graph ${(median(ours!) / 1000).toFixed(1)} ms, ` +
        `operation by operation ${(median(theirs!) / 1000).toFixed(1)} ms`,
    )
  }
}

/** Whole numbers rise, so that pairs of them are each another place. */
function madeUp({ dtype, shape }: { dtype: string; shape: readonly (number | null)[] }, rows: number): Tensor {
  const filled = shape.map((n) => n ?? rows)
  const data = denseArray(
    dtype as DenseDType,
    filled.reduce((product, n) => product * n, 1),
  ) as Float32Array
  const last = filled.at(-1)!
  for (let i = 0; i < data.length; i++)
    data[i] = dtype === 'f32' ? Math.sin(i) : filled.length > 1 ? Math.floor(i / last) * (i % last) : i
  return { dtype, shape: filled, data } as Tensor
}

async function timeUs(way: () => Promise<unknown>, times: number, warm = 200): Promise<number> {
  for (let i = 0; i < warm; i++) await way()
  const begin = process.hrtime.bigint()
  for (let i = 0; i < times; i++) await way()
  return Number(process.hrtime.bigint() - begin) / 1000 / times
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!
}

function row(values: readonly number[], rows: number): string {
  return `${median(values).toFixed(1)} us (${(median(values) / rows).toFixed(3)} a row)`
}

/** 64-128-64-1, ReLU between, sigmoid at the end. */
function mlp(): Uint8Array {
  const random = seededRandom(64)
  const sizes = [64, 128, 64, 1]
  const float = { T: { type: 'DT_FLOAT' } }
  const floats = (name: string, shape: number[], scale: number): NodeDef => {
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => scale * (2 * random() - 1))
    const tensorShape = { dim: shape.map((size) => ({ size })) }
    const tensor = { dtype: 'DT_FLOAT', tensorShape, tensorContent: new Uint8Array(values.buffer) }
    return { name, op: 'Const', attr: { dtype: { type: 'DT_FLOAT' }, value: { tensor } } }
  }
  const layers = [1, 2, 3].flatMap((i): NodeDef[] => [
    floats(`w${i}`, [sizes[i - 1]!, sizes[i]!], Math.sqrt(6 / sizes[i - 1]!)),
    floats(`b${i}`, [sizes[i]!], 0.1),
    { name: `m${i}`, op: 'MatMul', input: [i === 1 ? 'features' : `a${i - 1}`, `w${i}`], attr: float },
    { name: `z${i}`, op: 'BiasAdd', input: [`m${i}`, `b${i}`], attr: float },
    { name: `a${i}`, op: i === 3 ? 'Sigmoid' : 'Relu', input: [`z${i}`], attr: float },
  ])
  return writeSavedModel({
    graph: { node: [{ name: 'features', op: 'Placeholder', attr: { dtype: { type: 'DT_FLOAT' } } }, ...layers] },
    inputs: [{ name: 'features', tensor: 'features:0', dtype: 'f32', shape: [null, 64] }],
    outputs: [{ name: 'score', tensor: 'a3:0', dtype: 'f32', shape: [null, 1] }],
  })
}

void main()
