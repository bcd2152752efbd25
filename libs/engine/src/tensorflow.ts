import { join } from 'node:path'
import { Code, Refusal } from '@millrace/base'
import type { Availability, Engine, EngineKind, EngineOptions, Model, ModelFile } from './engine'
import { openLibtensorflow, type Libtensorflow } from './libtensorflow'
import { readSignature } from './saved-model'
import { findTensorflow, tensorflowLayout, type TensorflowInstall } from './tensorflow-home'
import { TensorflowModel } from './tensorflow-model'
import { openGraph, settleThreads, type GraphSession } from './tensorflow-session'
import { loadTfjsAsGraph } from './tensorflow-tfjs'

/** SavedModels and TFJS models on TensorFlow's own library, the one that tfjs-node runs on: each batch is one C call. */
export const tensorflow: EngineKind = {
  name: 'tensorflow',
  formats: ['tfjs', 'savedmodel'],
  devices: ['cpu', 'cuda'],
  probe,
  create: (options) => new Promise((resolve) => resolve(createEngine(options))),
}

function probe(): Availability {
  const home = findTensorflow(process.env)
  if ('reason' in home) return { available: false, ...home }
  return { available: true, version: home.version }
}

/** One a thread. */
let library: Libtensorflow | null = null

function createEngine(options: EngineOptions): Engine {
  const home = findTensorflow(process.env)
  if ('reason' in home) throw new Refusal(Code.FAILED_PRECONDITION, `${home.reason}: ${home.install}`)
  const [kind] = options.device.split(':')
  if (kind !== 'cpu' && !(kind === 'cuda' && home.gpu))
    throw new Refusal(
      Code.FAILED_PRECONDITION,
      home.gpu || kind !== 'cuda'
        ? `the tensorflow engine computes on cpu and cuda, not on ${options.device}`
        : `the tensorflow engine here computes on the cpu, not on ${options.device}: millrace engines install tensorflow --gpu`,
    )
  if (library === null) {
    library = openLibtensorflow(join(home.folder, tensorflowLayout.libraries, 'libtensorflow_cc.so.2'))
    settleThreads(library, options)
  }
  const tf = library
  return {
    name: 'tensorflow',
    load: (file) => loadModel(tf, home, file, options),
    dispose: () => undefined,
  }
}

async function loadModel(
  tf: Libtensorflow,
  home: TensorflowInstall,
  file: ModelFile,
  options: EngineOptions,
): Promise<Model> {
  if (file.format === 'tfjs') return loadTfjsAsGraph(home, file, (folder) => open(tf, folder, ['serve'], options))
  if (file.format !== 'savedmodel')
    throw new Refusal(
      Code.INVALID_ARGUMENT,
      `the tensorflow engine runs savedmodel and tfjs models, ${file.path} is ${file.format}`,
    )
  const { tags, inputs, outputs } = readSignature(file)
  return new TensorflowModel(file.path, open(tf, file.path, tags, options), inputs, outputs)
}

/** TensorFlow computes on the CPU where it finds no GPU, and says so in its log alone: here that is an error. */
function open(tf: Libtensorflow, folder: string, tags: readonly string[], options: EngineOptions): GraphSession {
  let session: GraphSession
  try {
    session = openGraph(tf, folder, tags, options)
  } catch (error) {
    throw new Error(`${folder}: ${(error as Error).message}`, { cause: error })
  }
  if (options.device === 'cpu' || session.devices().includes('GPU')) return session
  session.close()
  throw new Refusal(
    Code.FAILED_PRECONDITION,
    `TensorFlow finds no GPU for ${options.device}: it needs the driver of the GPU, and CUDA_VISIBLE_DEVICES, where it is ` +
      `set, must name one`,
  )
}
