import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Code, Refusal } from '@millrace/base'
import type { ModelFile, TensorSpec } from './engine'
import { dtypeOfTensorflow, tensorflowTypeName } from './tensorflow-dtype'
import { savedModelHeadProto } from './tensorflow-proto'
import type { Port } from './tensorflow-session'

/** One tensor of a signature. `shape` is null where its rank is free. */
export interface SignaturePort extends Port {
  readonly shape: TensorSpec['shape'] | null
}

export interface Signature {
  /** Of the graph that it belongs to. */
  readonly tags: readonly string[]
  /** By name, in alphabetical order: a SavedModel knows no other. */
  readonly inputs: readonly SignaturePort[]
  readonly outputs: readonly SignaturePort[]
}

interface TensorInfo {
  readonly name: string
  readonly dtype: number
  readonly tensorShape: { readonly dim?: readonly { readonly size?: number }[]; readonly unknownRank?: boolean } | null
}
interface SignatureDef {
  readonly inputs: Readonly<Record<string, TensorInfo>>
  readonly outputs: Readonly<Record<string, TensorInfo>>
}
interface MetaGraph {
  readonly metaInfoDef: { readonly tags: readonly string[] } | null
  readonly signatureDef: Readonly<Record<string, SignatureDef>>
}

const defaultSignature = 'serving_default'

/** Reads which signature of a SavedModel a model file means. Throws a Refusal that names those that there are. */
export function readSignature(file: ModelFile): Signature {
  const graphs = readMetaGraphs(file.path)
  const graph = graphs.find(({ metaInfoDef }) => metaInfoDef?.tags.join() === 'serve') ?? graphs[0]
  if (graph === undefined) throw new Refusal(Code.FAILED_PRECONDITION, `${file.path} holds no graph`)
  const own = Object.keys(graph.signatureDef)
    .filter((name) => !name.startsWith('__saved_model'))
    .sort()
  const wanted = file.signature ?? (own.length === 1 ? own[0]! : defaultSignature)
  const signature = own.includes(wanted) ? graph.signatureDef[wanted] : undefined
  if (signature === undefined)
    throw new Refusal(
      Code.FAILED_PRECONDITION,
      `${file.path} has no signature \`${wanted}\`; ${own.length > 0 ? `it has ${own.join(', ')}` : 'it has none'}: ` +
        `name one, savedModel(path, { signature }), or save the model with one`,
    )
  const ports = (what: string, tensors: SignatureDef['inputs']): SignaturePort[] =>
    Object.entries(tensors)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, info]) => portOf(file, what, name, info))
  return {
    tags: graph.metaInfoDef?.tags ?? [],
    inputs: ports('input', signature.inputs),
    outputs: ports('output', signature.outputs),
  }
}

function readMetaGraphs(folder: string): readonly MetaGraph[] {
  try {
    const head = savedModelHeadProto.decode(readFileSync(join(folder, 'saved_model.pb')))
    const { metaGraphs } = savedModelHeadProto.toObject(head, { defaults: true, longs: Number }) as {
      metaGraphs: MetaGraph[]
    }
    return metaGraphs
  } catch (error) {
    throw new Refusal(Code.FAILED_PRECONDITION, `${folder} cannot be read as a SavedModel: ${(error as Error).message}`)
  }
}

function portOf(
  file: ModelFile,
  what: string,
  name: string,
  { name: tensor, dtype: type, tensorShape }: TensorInfo,
): SignaturePort {
  const dtype = dtypeOfTensorflow(type)
  if (dtype === null || tensor === '')
    throw new Refusal(
      Code.UNIMPLEMENTED,
      `${file.path}: ${what} \`${name}\` is ${tensor === '' ? 'no dense tensor' : tensorflowTypeName(type)}; ` +
        `convert it inside the model's signature`,
    )
  const free = tensorShape === null || tensorShape.unknownRank === true
  return {
    name,
    tensor,
    dtype,
    shape: free ? null : (tensorShape.dim ?? []).map(({ size }) => ((size ?? 0) < 0 ? null : (size ?? 0))),
  }
}
