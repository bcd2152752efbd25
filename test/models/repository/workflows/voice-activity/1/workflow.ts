import { dirname, join } from 'node:path'
import { column, defineWorkflow, onnx } from '@millrace/workflow'

const rate = 16_000n
const samples = 512
/** Samples that the network wants to see again of what came before. */
const overlap = 64
const width = overlap + samples

/**
 * Whether 32 ms of audio at 16 kHz are speech: Silero VAD. What the network remembers goes back and forth with the
 * caller: zeros at the beginning of a stream, and then what the last answer had.
 */
export default defineWorkflow({
  inputs: {
    audio: column('f32', { shape: [samples] }),
    before: column('f32', { shape: [overlap] }),
    state: column('f32', { shape: [2, 128] }),
  },
  outputs: {
    speech: column('f32'),
    before: column('f32', { shape: [overlap] }),
    state: column('f32', { shape: [2, 128] }),
  },
  batch: { rowsMax: 64 },
  model: onnx(join(dirname(require.resolve('@ricky0123/vad-web')), 'silero_vad_v5.onnx'), {
    inputs: { input: 'f32', state: 'f32', sr: 'i64' },
    outputs: { output: 'f32', stateN: 'f32' },
  }),
  preprocess({ rows, inputs }, into) {
    const input = into.input([rows, width])
    const state = into.state([2, rows, 128])
    into.sr([], BigInt64Array.of(rate))
    for (let row = 0; row < rows; row++) {
      input.set(inputs.before.subarray(row * overlap, (row + 1) * overlap), row * width)
      input.set(inputs.audio.subarray(row * samples, (row + 1) * samples), row * width + overlap)
      // The network wants the rows in the middle.
      for (const half of [0, 1])
        state.set(inputs.state.subarray((2 * row + half) * 128, (2 * row + half + 1) * 128), (half * rows + row) * 128)
    }
  },
  postprocess({ rows, inputs, outputs }, from) {
    outputs.speech.set(from.output.data)
    for (let row = 0; row < rows; row++) {
      outputs.before.set(inputs.audio.subarray((row + 1) * samples - overlap, (row + 1) * samples), row * overlap)
      for (const half of [0, 1])
        outputs.state.set(
          from.stateN.data.subarray((half * rows + row) * 128, (half * rows + row + 1) * 128),
          (2 * row + half) * 128,
        )
    }
  },
})
