import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  mlpGraph,
  tensorflowFolder,
  writeOnnx,
  writeSavedModel,
  type ModelFile,
  type OnnxGraph,
  type Tensors,
} from '@millrace/engine'
import { describeWith } from '../support/extras'
import { DeviceProcess, noVulkan, softwareVulkan } from './support/device-process'
import { computeMlp, makeMlp, rowsFor } from './support/mlp'
import { distance } from './support/numbers'
import { mlpNodes } from './support/saved-models'

/*
 * Devices that are not the CPU: there or not there is said clearly, and where one is there it computes the same numbers.
 */

const mlp = makeMlp(7)
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-devices-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

function write(name: string, graph: OnnxGraph): ModelFile {
  const path = join(folder, `${name}.onnx`)
  writeFileSync(path, writeOnnx(graph))
  return { format: 'onnx', path }
}

const features = (data: Float32Array): Tensors => ({
  features: { dtype: 'f32', shape: [data.length / mlp.width, mlp.width], data },
})

describe('a device that is not there', () => {
  let devices: DeviceProcess
  beforeAll(() => {
    devices = new DeviceProcess(noVulkan)
  })
  afterAll(() => devices.end())

  test.each([
    ['webgpu:0', /^there is no WebGPU adapter for webgpu:0: no Vulkan driver was found: install libvulkan1/],
    [
      'cuda:0',
      /^onnxruntime-node has no libonnxruntime_providers_shared\.so and no libonnxruntime_providers_cuda\.so, which cuda:0 needs: .*--onnxruntime-node-install=cuda12/,
    ],
  ])('%s: a reason and a remedy, no crash and no CPU in its place', async (device, message) => {
    const failed = devices.create('onnxruntime', device)
    await expect(failed).rejects.toThrow(message)
    await expect(failed).rejects.toMatchObject({ name: 'FAILED_PRECONDITION' })
  })

  test('onnxruntime refuses a memory limit that it could not keep', async () => {
    await expect(devices.create('onnxruntime', 'cuda:0', 2 ** 30)).rejects.toThrow(
      /takes no memory limit.*MILLRACE_POOL_<NAME>_MEMORY/,
    )
  })

  test('another adapter than the first cannot be asked for', async () => {
    await expect(devices.create('onnxruntime', 'webgpu:1')).rejects.toThrow(/first WebGPU adapter/)
  })

  test('the CPU computes in the same process', async () => {
    const file = write('mlp', mlpGraph({ input: 'features', output: 'score', layers: mlp.layers }))
    const model = await devices.load('onnxruntime', 'cpu', file)
    const data = rowsFor(mlp, 3, 1)
    const { score } = await devices.run(model, features(data))
    expect(distance(score!.data as Float32Array, computeMlp(mlp, data))).toBeLessThan(2e-6)
  })
})

describeWith('vulkan')('webgpu', () => {
  let devices: DeviceProcess
  beforeAll(() => {
    devices = new DeviceProcess(softwareVulkan)
  })
  afterAll(() => devices.end())

  test('is there', async () => {
    await devices.create('onnxruntime', 'webgpu:0')
  })

  test('answers what the CPU answers, at batch sizes that grow and shrink', async () => {
    const file = write('mlp', mlpGraph({ input: 'features', output: 'score', layers: mlp.layers }))
    const gpu = await devices.load('onnxruntime', 'webgpu', file)
    const cpu = await devices.load('onnxruntime', 'cpu', file)
    for (const [i, rows] of [1, 2, 3, 17, 64, 5, 200, 1].entries()) {
      const data = rowsFor(mlp, rows, i)
      const [a, b] = [await devices.run(gpu, features(data)), await devices.run(cpu, features(data))]
      expect(distance(a['score']!.data as Float32Array, b['score']!.data as Float32Array)).toBeLessThan(1e-5)
    }
  })

  test('a batch that its memory does not take is OutOfMemory, and smaller ones still run', async () => {
    // A row takes 16 MiB on the device, which gives a buffer of 1 GiB at most.
    const width = 2 ** 22
    const model = await devices.load(
      'onnxruntime',
      'webgpu',
      write('wide', {
        inputs: [{ name: 'x', dtype: 'f32', shape: ['N', 1] }],
        outputs: [{ name: 'y', dtype: 'f32', shape: ['N', 1] }],
        weights: { w: { dtype: 'f32', shape: [1, width], data: new Float32Array(width).fill(1) } },
        nodes: [
          { op: 'Mul', inputs: ['x', 'w'], outputs: ['wide'] },
          { op: 'ReduceMax', inputs: ['wide'], outputs: ['y'], attributes: { axes: { ints: [1] } } },
        ],
      }),
    )
    const run = async (rows: number): Promise<number[]> => {
      const data = Float32Array.from({ length: rows }, (_, i) => i)
      const { y } = await devices.run(model, { x: { dtype: 'f32', shape: [rows, 1], data } })
      return [...(y!.data as Float32Array)]
    }
    expect(await run(2)).toEqual([0, 1])
    await expect(run(512)).rejects.toMatchObject({ name: 'OutOfMemory' })
    expect(await run(3)).toEqual([0, 1, 2])
  })
})

describeWith('tensorflow')('TensorFlow without a GPU', () => {
  const start = async (env: Readonly<Record<string, string>>): Promise<DeviceProcess> => {
    const devices = new DeviceProcess({ TF_CPP_MIN_LOG_LEVEL: '3', ...env })
    await devices.load('tensorflow', 'cpu', savedModel())
    return devices
  }
  let written: ModelFile | null = null
  function savedModel(): ModelFile {
    if (written !== null) return written
    const path = join(folder, 'saved')
    mkdirSync(path)
    writeFileSync(join(path, 'saved_model.pb'), writeSavedModel(mlpNodes(mlp)))
    return (written = { format: 'savedmodel', path })
  }

  test('built for the CPU: what to install', async () => {
    const devices = await start({})
    await expect(devices.create('tensorflow', 'cuda:0')).rejects.toThrow(/millrace engines install tensorflow --gpu/)
    await devices.end()
  })

  test('built for GPUs: none is found, and the CPU does not stand in', async () => {
    // The same library behind a receipt that says CUDA.
    const installed = tensorflowFolder(process.env)
    const home = join(folder, 'engines/tensorflow')
    mkdirSync(home, { recursive: true })
    for (const name of readdirSync(installed)) symlinkSync(join(installed, name), join(home, name))
    rmSync(join(home, 'receipt.json'))
    const receipt = JSON.parse(readFileSync(join(installed, 'receipt.json'), 'utf8')) as object
    writeFileSync(join(home, 'receipt.json'), JSON.stringify({ ...receipt, gpu: true }))
    const devices = await start({ MILLRACE_ENGINES_FOLDER: join(folder, 'engines') })
    const failed = devices.load('tensorflow', 'cuda:0', savedModel())
    await expect(failed).rejects.toThrow(/TensorFlow finds no GPU for cuda:0/)
    await devices.end()
  })
})
