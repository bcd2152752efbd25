import { column, defineWorkflow, tfjs } from '@millrace/workflow'

/** Two seconds at 22,050 Hz, less what the network's frames leave over. */
const samples = 43_844
const frames = 172

/** Audio to the probability of each of the 88 notes of a piano in each frame of 11.6 ms: Spotify's Basic Pitch. */
export default defineWorkflow({
  inputs: { audio: column('f32', { shape: [samples] }) },
  outputs: {
    note: column('f32', { shape: [frames, 88] }),
    onset: column('f32', { shape: [frames, 88] }),
    contour: column('f32', { shape: [frames, 264] }),
  },
  batch: { rowsMax: 8 },
  model: tfjs(require.resolve('@spotify/basic-pitch/model/model.json'), {
    inputs: { input_2: 'f32' },
    outputs: { 'Identity_1:0': 'f32', 'Identity_2:0': 'f32', contour: 'f32' },
  }),
  preprocess: ({ rows, inputs }, into) => void into.input_2([rows, samples, 1], inputs.audio),
  postprocess({ outputs }, from) {
    outputs.note.set(from['Identity_1:0'].data)
    outputs.onset.set(from['Identity_2:0'].data)
    outputs.contour.set(from.contour.data)
  },
})
