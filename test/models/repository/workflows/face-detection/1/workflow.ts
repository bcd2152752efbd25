import { dirname, join } from 'node:path'
import { column, defineWorkflow, steps, tfjs } from '@millrace/workflow'

const size = 256
/** Where boxes are looked for: cells of so many pixels, so many boxes in each. */
const grids = [
  { cell: 16, boxes: 2 },
  { cell: 32, boxes: 6 },
]
const anchors = grids.flatMap(({ cell, boxes }) => {
  const side = size / cell
  return Array.from({ length: side * side * boxes }, (_, i) => {
    const place = Math.floor(i / boxes)
    return [((place % side) + 0.5) / side, (Math.floor(place / side) + 0.5) / side] as const
  })
})

/** An image to its likeliest face: how likely, and its box as parts of width and height. MediaPipe's BlazeFace. */
export default defineWorkflow({
  inputs: { image: column('bytes') },
  outputs: { face: column('f32'), box: column('f32', { shape: [4] }) },
  // The network's batch dimension is 1.
  batch: { rowsMax: 1 },
  model: tfjs(join(dirname(require.resolve('@vladmandic/human')), '../models/blazeface.json'), {
    inputs: { 'input:0': 'f32' },
    outputs: { 'Identity:0': 'f32', 'Identity_1:0': 'f32', 'Identity_2:0': 'f32', 'Identity_3:0': 'f32' },
  }),
  async preprocess(batch, into) {
    const input = into['input:0']([1, size, size, 3])
    // From -1 to 1.
    await steps.decodeImages(batch, 'image', input, { width: size, height: size, scale: 1 / 127.5, mean: [1, 1, 1] })
  },
  postprocess({ outputs }, from) {
    const scores = [...from['Identity:0'].data, ...from['Identity_1:0'].data]
    const best = scores.indexOf(Math.max(...scores))
    outputs.face[0] = 1 / (1 + Math.exp(-scores[best]!))
    const [first, second] = [from['Identity_2:0'].data, from['Identity_3:0'].data]
    const [dx, dy, w, h] = [...first, ...second].slice(16 * best, 16 * best + 4).map((n) => n / size) as [
      number,
      number,
      number,
      number,
    ]
    const [x, y] = anchors[best]!
    outputs.box.set([x + dx - w / 2, y + dy - h / 2, w, h])
  },
})
