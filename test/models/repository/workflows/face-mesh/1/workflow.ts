import { dirname, join } from 'node:path'
import { column, defineWorkflow, steps, tfjs } from '@millrace/workflow'

const size = 192

/** A cut-out face to its 468 points in pixels of 192 by 192, and how sure it is of a face. MediaPipe's Face Mesh. */
export default defineWorkflow({
  inputs: { image: column('bytes') },
  outputs: { points: column('f32', { shape: [468, 3] }), face: column('f32') },
  batch: { rowsMax: 16 },
  model: tfjs(join(dirname(require.resolve('@vladmandic/human')), '../models/facemesh.json'), {
    inputs: { input_1: 'f32' },
    outputs: { output_mesh: 'f32', output_faceflag: 'f32' },
  }),
  async preprocess(batch, into) {
    const input = into.input_1([batch.rows, size, size, 3])
    await steps.decodeImages(batch, 'image', input, { width: size, height: size })
  },
  postprocess({ outputs }, from) {
    outputs.points.set(from.output_mesh.data)
    outputs.face.set(from.output_faceflag.data)
  },
})
