import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { engineFor } from '@millrace/engine'
import { median } from '../report'

/** What one row costs in the engine alone, in this process: the median, microseconds. */
export async function engineAlone(runs: number): Promise<number> {
  const path = join(__dirname, '../../repository/workflows/mlp-64/1/model.onnx')
  const engine = await engineFor('onnx', []).create({ threads: 1, device: 'cpu' })
  const model = await engine.load({ format: 'onnx', path })
  const features = { dtype: 'f32', shape: [1, 64], data: Float32Array.from({ length: 64 }, (_, i) => i / 64) } as const
  const us: number[] = []
  for (let i = 0; i < runs; i++) {
    const begun = performance.now()
    await model.run({ features })
    us.push((performance.now() - begun) * 1000)
  }
  model.dispose()
  return median(us.slice(runs / 10))
}
