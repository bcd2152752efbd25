/*
 * Does calling onnxruntime's binding directly pay? Prints microseconds a run, medians of 5 rounds, of the package's
 * own asynchronous `run` ("wrapper") and of our engine, alternating, on the network that the benches score:
 *
 *   npx tsc -b libs/engine && npx jiti bench/models/time-onnxruntime.ts
 */
import { join } from 'node:path'
import { engineFor } from '@millrace/engine'
import { InferenceSession, Tensor } from 'onnxruntime-node'

const path = join(__dirname, '../repository/workflows/mlp-64/1/model.onnx')

async function main(): Promise<void> {
  const model = await (await engineFor('onnx', []).create({ threads: 1, device: 'cpu' })).load({ format: 'onnx', path })
  const session = await InferenceSession.create(path, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  })
  for (const rows of [1, 8, 128]) {
    const data = Float32Array.from({ length: 64 * rows }, (_, i) => (i % 17) / 17)
    const shared = new Float32Array(new SharedArrayBuffer(data.byteLength))
    shared.set(data)
    const shape = [rows, 64]
    const ways = {
      wrapper: () => session.run({ features: new Tensor('float32', data, shape) }),
      engine: () => model.run({ features: { dtype: 'f32', shape, data } }),
      'engine, input on shared memory': () => model.run({ features: { dtype: 'f32', shape, data: shared } }),
    }
    const times: Record<string, number[]> = {}
    for (let round = 0; round < 5; round++)
      for (const [name, way] of Object.entries(ways))
        (times[name] ??= []).push(await timeUs(way, rows < 100 ? 10_000 : 2_000))
    for (const [name, us] of Object.entries(times))
      console.log(`batch ${rows}, ${name}: ${us.sort((a, b) => a - b)[2]!.toFixed(1)}`)
  }
}

async function timeUs(way: () => Promise<unknown>, times: number): Promise<number> {
  for (let i = 0; i < 200; i++) await way()
  const begin = process.hrtime.bigint()
  for (let i = 0; i < times; i++) await way()
  return Number(process.hrtime.bigint() - begin) / 1000 / times
}

void main()
