import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { engines, writeOnnx, type EngineKind, type ModelFile } from '@millrace/engine'

/*
 * node try-devices.js ENGINE: which kinds of device the engine computes on here. The first of each kind is tried with a
 * model of one operation, because a library lists what it was built for, not what the machine has. One line of JSON.
 */

export interface DeviceTrial {
  readonly device: string
  readonly works: boolean
  /** Why it does not; empty when it works. */
  readonly reason: string
}

async function tryDevice(kind: EngineKind, device: string, file: ModelFile): Promise<DeviceTrial> {
  try {
    const engine = await kind.create({ threads: 1, device: device === 'cpu' ? device : `${device}:0` })
    const model = await engine.load(file)
    const outputs = await model.run({ x: { dtype: 'f32', shape: [1, 2], data: Float32Array.of(-1, 2) } })
    const [tensor] = Object.values(outputs)
    const [first, second] = [...(tensor!.data as Float32Array)]
    const right = first === 0 && second === 2
    model.dispose()
    engine.dispose()
    return { device, works: right, reason: right ? '' : `relu of -1, 2 was ${first}, ${second}` }
  } catch (error) {
    return { device, works: false, reason: reasonOf(error, file) }
  }
}

function reasonOf(error: unknown, { path }: ModelFile): string {
  return (error as Error).message.replace(`${path}: `, '').split('\n')[0]!
}

/** y = relu(x), in a format that the engine runs. */
function writeModel(kind: EngineKind, folder: string): ModelFile {
  if (kind.formats.includes('onnx')) {
    const path = join(folder, 'model.onnx')
    const value = (name: string) => ({ name, dtype: 'f32', shape: ['N', 2] }) as const
    const nodes = [{ op: 'Relu', inputs: ['x'], outputs: ['y'] }]
    writeFileSync(path, writeOnnx({ inputs: [value('x')], outputs: [value('y')], weights: {}, nodes }))
    return { format: 'onnx', path }
  }
  const path = join(folder, 'model.json')
  const type = { type: 'DT_FLOAT' }
  const tensorShape = { dim: [{ size: '-1' }, { size: '2' }] }
  const value = (name: string) => ({ [name]: { name: `${name}:0`, dtype: 'DT_FLOAT', tensorShape } })
  const model = {
    format: 'graph-model',
    modelTopology: {
      node: [
        { name: 'x', op: 'Placeholder', attr: { dtype: type, shape: { shape: tensorShape } } },
        { name: 'y', op: 'Relu', input: ['x'], attr: { T: type } },
      ],
      versions: { producer: 1395 },
    },
    signature: { inputs: value('x'), outputs: value('y') },
    weightsManifest: [],
  }
  writeFileSync(path, JSON.stringify(model))
  return { format: 'tfjs', path }
}

async function main(name: string): Promise<void> {
  const kind = engines.find((one) => one.name === name)!
  const folder = mkdtempSync(join(tmpdir(), 'millrace-devices-'))
  try {
    const file = writeModel(kind, folder)
    const trials: DeviceTrial[] = []
    for (const device of kind.devices ?? ['cpu']) trials.push(await tryDevice(kind, device, file))
    process.stdout.write(`\n${JSON.stringify(trials)}\n`)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

void main(process.argv[2]!)
