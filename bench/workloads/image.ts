import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { seededRandom } from '@millrace/base'
import { writeOnnx } from '@millrace/engine'
import { hashOf } from '../objective-hash'
import { heLayer } from './network'
import { writeTraffic, type Workload } from './workload'

const [channels, side] = [3, 224]

/** A row of the size of an image, 224 x 224 RGB bytes (147 KiB), to a network that does little with it: the road, not the network. */
export const image: Workload = {
  name: 'image',
  about: 'one 224 x 224 RGB image to ten scores, ONNX',
  prepare: (folder) => {
    const model = join(folder, 'repository/workflows/image/1')
    mkdirSync(model, { recursive: true })
    const random = seededRandom(224)
    const { weights, bias } = heLayer(channels, 10, 'linear', random)
    const graph = {
      inputs: [{ name: 'pixels', dtype: 'u8', shape: ['N', channels, side, side] }],
      outputs: [{ name: 'scores', dtype: 'f32', shape: ['N', 10] }],
      weights: {
        w: { dtype: 'f32', shape: [channels, 10], data: weights },
        b: { dtype: 'f32', shape: [10], data: bias },
      },
      nodes: [
        { op: 'Cast', inputs: ['pixels'], outputs: ['floats'], attributes: { to: { int: 1 } } },
        { op: 'GlobalAveragePool', inputs: ['floats'], outputs: ['means'] },
        { op: 'Flatten', inputs: ['means'], outputs: ['flat'] },
        { op: 'Gemm', inputs: ['flat', 'w', 'b'], outputs: ['scores'] },
      ],
    } as const
    writeFileSync(join(model, 'model.onnx'), writeOnnx(graph))
    const requests = Array.from({ length: 32 }, (_, i) => ({
      objectiveHash: hashOf('image'),
      subject: `account-${i}`,
      inputs: [
        {
          name: 'pixels',
          dtype: 'u8' as const,
          shape: [1, channels, side, side],
          data: Uint8Array.from({ length: channels * side * side }, (__, p) => (p * (i + 1)) & 0xff),
        },
      ],
    }))
    return { env: { MILLRACE_REPOSITORY: join(folder, 'repository') }, traffic: writeTraffic(folder, requests) }
  },
}
