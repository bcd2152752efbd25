/*
 * What the threads of one process hold of a model: resident memory for 1, 2 and 4 worker threads that each load the
 * same network of about 100 MB (five layers of 2,240 x 2,240 floats) and run it; and what a run then costs. Every
 * engine and thread count in a process of its own.
 *
 *   npx tsc -b libs/engine && npx jiti bench/models/memory.ts
 *   npx jiti bench/models/memory.ts leak     memory after each 250,000 of a million rows through TensorFlow, and of
 *                                            10,000 runs that throw
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { seededRandom, shareThreadMemory } from '@millrace/base'
import {
  engines,
  mlpGraph,
  writeOnnx,
  writeSavedModel,
  type DenseLayer,
  type ModelFile,
  type NodeDef,
} from '@millrace/engine'

const jiti = join(dirname(require.resolve('jiti/package.json')), 'lib/jiti-cli.mjs')
const here = JSON.stringify(__filename)

const width = 2240
const depth = 5

interface Load {
  readonly engine: string
  readonly file: ModelFile
}

function layers(): DenseLayer[] {
  const random = seededRandom(1)
  return Array.from({ length: depth }, () => ({
    weights: Float32Array.from({ length: width * width }, () => (2 * random() - 1) / 40),
    bias: new Float32Array(width),
    activation: 'relu' as const,
  }))
}

function write(folder: string): Load[] {
  const network = layers()
  const onnx = join(folder, 'model.onnx')
  writeFileSync(onnx, writeOnnx(mlpGraph({ input: 'x', output: 'y', layers: network })))
  writeFileSync(join(folder, 'saved_model.pb'), savedModel(network))
  const tfjs = join(folder, 'model.json')
  writeFileSync(join(folder, 'weights.bin'), Buffer.concat(network.map(({ weights }) => Buffer.from(weights.buffer))))
  writeFileSync(tfjs, JSON.stringify(tfjsModel()))
  return [
    { engine: 'onnxruntime', file: { format: 'onnx', path: onnx } },
    { engine: 'tensorflow', file: { format: 'savedmodel', path: folder } },
    { engine: 'tfjs', file: { format: 'tfjs', path: tfjs } },
  ]
}

const float = { T: { type: 'DT_FLOAT' } }
const operations = (i: number): NodeDef[] => [
  { name: `m${i}`, op: 'MatMul', input: [i === 0 ? 'x' : `a${i - 1}`, `w${i}`], attr: float },
  { name: i === depth - 1 ? 'y' : `a${i}`, op: 'Relu', input: [`m${i}`], attr: float },
]
const shape = { dim: [{ size: width }, { size: width }] }

function savedModel(network: readonly DenseLayer[]): Uint8Array {
  const nodes = network.flatMap(({ weights }, i): NodeDef[] => {
    const tensor = { dtype: 'DT_FLOAT', tensorShape: shape, tensorContent: new Uint8Array(weights.buffer) }
    return [{ name: `w${i}`, op: 'Const', attr: { dtype: { type: 'DT_FLOAT' }, value: { tensor } } }, ...operations(i)]
  })
  const x: NodeDef = { name: 'x', op: 'Placeholder', attr: { dtype: { type: 'DT_FLOAT' } } }
  return writeSavedModel({
    graph: { node: [x, ...nodes] },
    inputs: [{ name: 'x', tensor: 'x:0', dtype: 'f32', shape: [null, width] }],
    outputs: [{ name: 'y', tensor: 'y:0', dtype: 'f32', shape: [null, width] }],
  })
}

function tfjsModel(): object {
  const names = Array.from({ length: depth }, (_, i) => `w${i}`)
  const constants = names.map((name) => ({
    name,
    op: 'Const',
    attr: { dtype: { type: 'DT_FLOAT' }, value: { tensor: { dtype: 'DT_FLOAT', tensorShape: shape } } },
  }))
  const input = { dim: [{ size: '-1' }, { size: String(width) }] }
  const x = { name: 'x', op: 'Placeholder', attr: { dtype: { type: 'DT_FLOAT' }, shape: { shape: input } } }
  return {
    format: 'graph-model',
    modelTopology: { node: [x, ...constants, ...names.flatMap((_, i) => operations(i))], versions: {}, library: {} },
    weightsManifest: [
      { paths: ['weights.bin'], weights: names.map((name) => ({ name, shape: [width, width], dtype: 'float32' })) },
    ],
  }
}

/** A thread: loads, runs, says how long a run of 8 rows takes, and stays. */
async function thread({ engine, file }: Load): Promise<void> {
  const model = await (
    await engines.find(({ name }) => name === engine)!.create({ threads: 1, device: 'cpu' })
  ).load(file)
  const rows = 8
  const inputs = { x: { dtype: 'f32', shape: [rows, width], data: new Float32Array(rows * width).fill(0.1) } } as const
  await model.run(inputs)
  parentPort!.on('message', () => {
    void (async () => {
      const times: number[] = []
      for (let i = 0; i < 9; i++) {
        const begin = process.hrtime.bigint()
        await model.run(inputs)
        times.push(Number(process.hrtime.bigint() - begin) / 1e6)
      }
      parentPort!.postMessage(times.sort((a, b) => a - b)[4])
    })()
  })
  parentPort!.postMessage('loaded')
}

/** A process with some threads: prints its resident memory before and with them, and milliseconds a run of one. */
async function holder(load: Load, threads: number): Promise<void> {
  shareThreadMemory()
  const before = resident()
  const workers: Worker[] = []
  for (let i = 0; i < threads; i++) {
    const worker = new Worker(`require('jiti').createJiti(${here}).import(${here})`, { eval: true, workerData: load })
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    workers.push(worker)
  }
  await new Promise((resolve) => setTimeout(resolve, 1000))
  const mib = resident() - before
  const ms = await new Promise<number>((resolve) => {
    workers[0]!.once('message', resolve)
    workers[0]!.postMessage('run')
  })
  console.log(JSON.stringify({ mib, ms }))
  process.exit(0)
}

function resident(): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024
}

/** A row's 64 floats by its place in a table, so that a place that is not there throws. */
async function leak(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-leak-'))
  const type = (dtype: string): NonNullable<NodeDef['attr']> => ({ dtype: { type: dtype } })
  const axis = { dtype: 'DT_INT32', tensorShape: {}, tensorContent: new Uint8Array(4) }
  const gather = {
    Tparams: { type: 'DT_FLOAT' },
    Tindices: { type: 'DT_INT32' },
    Taxis: { type: 'DT_INT32' },
  }
  const nodes: NodeDef[] = [
    { name: 'x', op: 'Placeholder', attr: type('DT_FLOAT') },
    { name: 'place', op: 'Placeholder', attr: type('DT_INT32') },
    { name: 'axis', op: 'Const', attr: { ...type('DT_INT32'), value: { tensor: axis } } },
    { name: 'y', op: 'GatherV2', input: ['x', 'place', 'axis'], attr: gather },
  ]
  const bytes = writeSavedModel({
    graph: { node: nodes },
    inputs: [
      { name: 'x', tensor: 'x:0', dtype: 'f32', shape: [null, 64] },
      { name: 'place', tensor: 'place:0', dtype: 'i32', shape: [null] },
    ],
    outputs: [{ name: 'y', tensor: 'y:0', dtype: 'f32', shape: [null, 64] }],
  })
  writeFileSync(join(folder, 'saved_model.pb'), bytes)
  const kind = engines.find(({ name }) => name === 'tensorflow')!
  const model = await (await kind.create({ threads: 1, device: 'cpu' })).load({ format: 'savedmodel', path: folder })
  rmSync(folder, { recursive: true })
  // Batches of 1 to 128 rows, as a server's are.
  const run = (rows: number, place: number): Promise<unknown> =>
    model.run({
      x: { dtype: 'f32', shape: [rows, 64], data: new Float32Array(rows * 64) },
      place: { dtype: 'i32', shape: [rows], data: new Int32Array(rows).fill(place) },
    })
  for (let quarter = 0; quarter <= 4; quarter++) {
    for (let rows = 0, batch = 0; rows < (quarter === 0 ? 50_000 : 250_000); batch++) {
      const size = 1 + (batch % 128)
      await run(size, 0)
      rows += size
    }
    console.log(`${quarter * 250_000} rows: ${resident().toFixed(1)} MiB`)
  }
  let thrown = 0
  for (let i = 0; i < 10_000; i++) await run(128, -1).catch(() => thrown++)
  console.log(`${thrown} runs of 128 rows that threw: ${resident().toFixed(1)} MiB`)
}

function main(): void {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-memory-'))
  try {
    for (const load of write(folder))
      for (const threads of [1, 2, 4]) {
        const child = spawnSync(process.execPath, [jiti, __filename, JSON.stringify(load), String(threads)], {
          encoding: 'utf8',
          env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '3' },
        })
        const { mib, ms } = JSON.parse(child.stdout) as { mib: number; ms: number }
        console.log(`${load.engine}, ${threads} threads: ${mib.toFixed(0)} MiB, a run of 8 rows ${ms.toFixed(1)} ms`)
      }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

if (!isMainThread) void thread(workerData as Load)
else if (process.argv[2] === 'leak') void leak()
else if (process.argv.length > 3) void holder(JSON.parse(process.argv[2]!) as Load, Number(process.argv[3]))
else main()
