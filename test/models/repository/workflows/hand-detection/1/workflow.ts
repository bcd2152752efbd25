import { dirname, join } from 'node:path'
import { column, defineWorkflow, steps, tfjs } from '@millrace/workflow'

const size = 320
const most = 20

/**
 * An image to its likeliest hands, poses and faces: an SSD on MobileNetV2. Bytes in; loops and the choice of boxes that
 * do not overlap are part of its graph.
 */
export default defineWorkflow({
  inputs: { image: column('bytes') },
  outputs: { sure: column('f32', { shape: [most] }), found: column('f32') },
  // The network's batch dimension is 1.
  batch: { rowsMax: 1 },
  model: tfjs(join(dirname(require.resolve('@vladmandic/human')), '../models/handtrack.json'), {
    inputs: { 'input_tensor:0': 'i32' },
    outputs: { 'Identity_4:0': 'f32', 'Identity_5:0': 'f32' },
  }),
  async preprocess(batch, into) {
    const pixels = new Uint8Array(size * size * 3)
    await steps.decodeImages(batch, 'image', pixels, { width: size, height: size })
    into['input_tensor:0']([1, size, size, 3]).set(pixels)
  },
  postprocess({ outputs }, from) {
    outputs.sure.set(from['Identity_4:0'].data.subarray(0, most))
    outputs.found.set(from['Identity_5:0'].data)
  },
})
