import type { Tensor } from './engine'
import type { WrittenGraph } from './graph-def'
import { RecordingBinding, type Binding, type Recording } from './record-ops'
import type { SignaturePort } from './saved-model'
import { zeros } from './tensorflow-model'
import type { TfjsLibrary } from './tfjs-library'
import type { TfjsModel } from './tfjs-model'
import { graphOfRecordings } from './trace-graph'

/** Batch sizes that a model is recorded at: primes that are hardly a size of anything else. */
const rows = [7, 13] as const

/**
 * A layers model, whose operations are in no file, as the graph of what it does: it runs twice on tfjs-node's backend while
 * what that asks of its addon is written down. Rejects with what cannot be written.
 */
export async function graphOfLayers(tf: TfjsLibrary, model: TfjsModel): Promise<WrittenGraph> {
  for (const { name, shape } of model.inputs)
    if (shape[0] !== null || shape.slice(1).includes(null))
      throw new Error(`input \`${name}\` has free dimensions that are not its rows, or fixed rows`)
  const recordings: [Recording, Recording] = [await record(tf, model, rows[0]), await record(tf, model, rows[1])]
  const ports = (specs: TfjsModel['inputs']): SignaturePort[] => specs.map((spec) => ({ ...spec, tensor: '' }))
  return graphOfRecordings(rows, recordings, ports(model.inputs), ports(model.outputs))
}

async function record(tf: TfjsLibrary, model: TfjsModel, count: number): Promise<Recording> {
  const inputs: Tensor[] = model.inputs.map((spec) => zeros(spec, count))
  const backend = tf.core.backend() as unknown as { binding: Binding }
  const real = backend.binding
  const recorder = new RecordingBinding(
    real,
    inputs.map(({ data }) => data),
  )
  backend.binding = recorder.binding
  try {
    await model.run(Object.fromEntries(model.inputs.map(({ name }, i) => [name, inputs[i]!])))
  } finally {
    backend.binding = real
  }
  return recorder.recording()
}
