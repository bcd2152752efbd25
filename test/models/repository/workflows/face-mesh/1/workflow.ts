import { dirname, join } from 'node:path'
import { column, defineWorkflow, tfjs } from '@millrace/workflow'
import { decodeImages } from '../../../pixels'

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
  async preprocess({ rows, inputs }, into) {
    const pixels = await decodeImages(
      Array.from({ length: rows }, (_, row) => inputs.image.bytes(row)),
      size,
    )
    const input = into.input_1([rows, size, size, 3])
    for (let i = 0; i < pixels.length; i++) input[i] = pixels[i]! / 255
  },
  postprocess({ outputs }, from) {
    outputs.points.set(from.output_mesh.data)
    outputs.face.set(from.output_faceflag.data)
  },
})
