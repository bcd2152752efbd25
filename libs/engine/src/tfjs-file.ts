import { readFileSync } from 'node:fs'
import { Code, Refusal } from '@millrace/base'
import type { io } from '@tensorflow/tfjs-core'
import { readShards } from './tfjs-weights'

/** A `model.json`, with the kinds of topology that there are told apart. */
export interface TfjsFile {
  readonly path: string
  readonly kind: 'graph' | 'layers'
  readonly json: io.ModelJSON
  /** Of a graph model, where its converter wrote one. */
  readonly signature: GraphSignature | null
}

/** Names that a model's users know, and the tensors behind them. Protobuf-JSON of TensorFlow's SignatureDef. */
export interface GraphSignature {
  readonly inputs?: Readonly<Record<string, SignatureTensor>>
  readonly outputs?: Readonly<Record<string, SignatureTensor>>
}
export interface SignatureTensor {
  /** `node:output` */
  readonly name: string
  /** `DT_FLOAT` */
  readonly dtype: string
  readonly tensorShape?: {
    readonly dim?: readonly { readonly size?: string | number }[]
    readonly unknownRank?: boolean
  }
}

export function readTfjsFile(path: string): TfjsFile {
  let json: io.ModelJSON & { userDefinedMetadata?: { signature?: GraphSignature } }
  try {
    json = JSON.parse(readFileSync(path, 'utf8')) as typeof json
  } catch (error) {
    throw new Refusal(Code.FAILED_PRECONDITION, `${path} cannot be read as a TFJS model: ${(error as Error).message}`)
  }
  const kind = kindOf(json)
  if (kind === null || !Array.isArray(json.weightsManifest))
    throw new Refusal(
      Code.FAILED_PRECONDITION,
      `${path} is no TFJS model: it needs a modelTopology (graph or layers) and a weightsManifest`,
    )
  // Older converters wrote the signature into the metadata.
  const signature = (json.signature ?? json.userDefinedMetadata?.signature ?? null) as GraphSignature | null
  return { path, kind, json, signature }
}

/** What TFJS loads a model through: topology and weights from disk. */
export function fileHandler(core: { io: typeof io }, file: TfjsFile): io.IOHandler {
  return {
    load: () =>
      core.io.getModelArtifactsForJSON(file.json, (manifest) =>
        Promise.resolve([core.io.getWeightSpecs(manifest), readShards(file.path, manifest).map(arrayBufferOf)]),
      ),
  }
}

function arrayBufferOf(bytes: Buffer): ArrayBuffer {
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer
}

function kindOf(json: io.ModelJSON): 'graph' | 'layers' | null {
  if (json.format === 'graph-model') return 'graph'
  if (json.format === 'layers-model') return 'layers'
  const topology = json.modelTopology as Record<string, unknown> | undefined
  if (topology?.['node'] !== undefined) return 'graph'
  return topology?.['model_config'] !== undefined || topology?.['class_name'] !== undefined ? 'layers' : null
}
