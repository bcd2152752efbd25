import { dirname, join } from 'node:path'
import { column, defineWorkflow, steps, tfjs } from '@millrace/workflow'

const size = 192

/** An image to 17 joints of a body: y and x as parts of height and width, and how sure it is. Google's MoveNet. */
export default defineWorkflow({
  inputs: { image: column('bytes') },
  outputs: { joints: column('f32', { shape: [17, 3] }) },
  // The network's batch dimension is 1.
  batch: { rowsMax: 1 },
  model: tfjs(join(dirname(require.resolve('@vladmandic/human')), '../models/movenet-lightning.json'), {
    inputs: { 'input:0': 'i32' },
    outputs: { 'Identity:0': 'f32' },
  }),
  async preprocess(batch, into) {
    const pixels = new Uint8Array(size * size * 3)
    await steps.decodeImages(batch, 'image', pixels, { width: size, height: size })
    into['input:0']([1, size, size, 3]).set(pixels)
  },
  postprocess: ({ outputs }, from) => outputs.joints.set(from['Identity:0'].data),
})
