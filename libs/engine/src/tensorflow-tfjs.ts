import { join } from 'node:path'
import { difference } from './compare-models'
import type { Model, ModelFile } from './engine'
import { OutOfMemory } from './engine-errors'
import { digestOf, findGraph, keepGraph, withGraph, type GraphEntry } from './graph-cache'
import { writeSavedModel, type WrittenGraph } from './graph-def'
import { oneAtATime } from './one-at-a-time'
import { enginesFolder, tensorflowPins, type TensorflowInstall } from './tensorflow-home'
import { TensorflowModel } from './tensorflow-model'
import type { GraphSession } from './tensorflow-session'
import { readTfjsFile, type TfjsFile } from './tfjs-file'
import { graphOfTfjs } from './tfjs-graph'
import { graphOfLayers } from './tfjs-layers'
import type { TfjsLibrary } from './tfjs-library'
import { loadTfjsModel, type TfjsModel } from './tfjs-model'
import { loadTfjsNode } from './tfjs-node'
import { decodeWeights, readShards } from './tfjs-weights'

/** Raised when what is written from a model changes: graphs that an older release wrote are not found again. */
const writerVersion = 2

/**
 * A TFJS model as one graph: written at the first load and compared with the run operation by operation, found again
 * afterwards. A model of which no graph can be written, or whose graph does not agree, runs operation by operation, with a
 * warning that says why. Rejects when the model runs in neither way.
 *
 * @param open loads a SavedModel's folder
 */
export async function loadTfjsAsGraph(
  home: TensorflowInstall,
  modelFile: ModelFile,
  open: (folder: string) => GraphSession,
): Promise<Model> {
  const file = readTfjsFile(modelFile.path)
  const shards = readShards(file.path, file.json.weightsManifest)
  const folder = join(enginesFolder(process.env), 'graphs')
  const key = digestOf(`${writerVersion} ${tensorflowPins.tensorflow}`, JSON.stringify(file.json), ...shards)
  const kept = findGraph(folder, key)
  if (kept !== null && 'inputs' in kept.entry)
    return new TensorflowModel(file.path, open(kept.path), kept.entry.inputs, kept.entry.outputs)
  // The addon of tfjs-node keeps names of attributes in a set of the whole process (ATTR_NAME_SET in tfjs_backend.cc), which
  // two threads that run new operations at once break; and who comes second finds what the first has written.
  return oneAtATime('tfjs', () => written(home, modelFile, file, shards, { folder, key }, open))
}

/** From the model's operations, or from what another thread has kept meanwhile. */
async function written(
  home: TensorflowInstall,
  modelFile: ModelFile,
  file: TfjsFile,
  shards: readonly Buffer[],
  { folder, key }: { readonly folder: string; readonly key: string },
  open: (folder: string) => GraphSession,
): Promise<Model> {
  const found = findGraph(folder, key)
  if (found !== null && 'inputs' in found.entry)
    return new TensorflowModel(file.path, open(found.path), found.entry.inputs, found.entry.outputs)

  const tf = loadTfjsNode(home)
  const plain = await loadTfjsModel(tf, modelFile)
  if (found !== null) return slowly(file, plain, reasonOf(found.entry))
  try {
    const graph = await write(tf, file, shards, plain)
    const bytes = writeSavedModel(graph)
    const model = new TensorflowModel(file.path, withGraph(bytes, open), graph.inputs, graph.outputs)
    const where = await difference(model, plain)
    if (where === null) {
      plain.dispose()
      keepGraph(folder, key, bytes, { inputs: graph.inputs, outputs: graph.outputs })
      return reopened(file, findGraph(folder, key), model, open)
    }
    model.dispose()
    throw new Error(where)
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException
    // What the machine lacked is tried again by the next load: memory, room on a disk.
    if (!(error instanceof OutOfMemory) && code === undefined)
      keepGraph(folder, key, new Uint8Array(0), { reason: message })
    return slowly(file, plain, message)
  }
}

/** The kept graph, which all threads share, in place of the one that only this thread has. */
function reopened(
  file: TfjsFile,
  kept: ReturnType<typeof findGraph>,
  model: TensorflowModel,
  open: (folder: string) => GraphSession,
): Model {
  if (kept === null || !('inputs' in kept.entry)) return model
  model.dispose()
  return new TensorflowModel(file.path, open(kept.path), kept.entry.inputs, kept.entry.outputs)
}

function reasonOf(entry: GraphEntry): string {
  return 'reason' in entry ? entry.reason : ''
}

function slowly(file: TfjsFile, plain: Model, reason: string): Model {
  process.emitWarning(
    `${file.path} runs operation by operation, not as one graph, which costs several times more: ${reason}`,
  )
  return plain
}

async function write(
  tf: TfjsLibrary,
  file: TfjsFile,
  shards: readonly Buffer[],
  plain: TfjsModel,
): Promise<WrittenGraph> {
  const ports = plain.graphPorts()
  if (ports === null) return graphOfLayers(tf, plain)
  const weights = decodeWeights(file.json.weightsManifest, shards)
  return graphOfTfjs(file.json.modelTopology as object, weights, ports.inputs, ports.outputs)
}
