import type { SignaturePort } from './saved-model'
import { tensorflowTypes } from './tensorflow-dtype'
import { savedModelProto } from './tensorflow-proto'

/** TensorFlow's GraphDef in protobuf's JSON; bytes are base64 or arrays. */
export interface NodeDef {
  readonly name: string
  readonly op: string
  readonly input?: readonly string[]
  readonly attr?: Readonly<Record<string, AttrValue>>
}
export interface AttrValue {
  readonly s?: string | Uint8Array
  readonly i?: number | string
  readonly f?: number
  readonly b?: boolean
  readonly type?: string | number
  readonly shape?: object
  readonly tensor?: TensorProto
  readonly list?: {
    readonly s?: readonly (string | Uint8Array)[]
    readonly i?: readonly (number | string)[]
    readonly f?: readonly number[]
    readonly b?: readonly boolean[]
    readonly type?: readonly (string | number)[]
    readonly shape?: readonly object[]
  }
}
export interface TensorProto {
  readonly dtype: string | number
  readonly tensorShape?: object
  readonly tensorContent?: Uint8Array
  readonly floatVal?: readonly number[]
  readonly stringVal?: readonly Uint8Array[]
}
export interface GraphDef {
  readonly node: readonly NodeDef[]
  readonly library?: object
}

/** A graph to run by itself, and what goes in and out of it. */
export interface WrittenGraph {
  readonly graph: GraphDef
  readonly inputs: readonly SignaturePort[]
  readonly outputs: readonly SignaturePort[]
}

/** GraphDef version of TensorFlow 2.3: what operations mean has been the same since. */
const producer = 440

/** The bytes of a `saved_model.pb` without variables, tag `serve`. Throws for what is no GraphDef. */
export function writeSavedModel({ graph, inputs, outputs }: WrittenGraph): Uint8Array {
  const infos = (ports: readonly SignaturePort[]): object =>
    Object.fromEntries(
      ports.map(({ name, tensor, dtype, shape }) => [
        name,
        {
          name: tensor.includes(':') ? tensor : `${tensor}:0`,
          dtype: tensorflowTypes[dtype],
          tensorShape: shape === null ? { unknownRank: true } : shapeProto(shape),
        },
      ]),
    )
  const signature = { inputs: infos(inputs), outputs: infos(outputs), methodName: 'tensorflow/serving/predict' }
  return savedModelProto
    .encode(
      savedModelProto.fromObject({
        savedModelSchemaVersion: 1,
        metaGraphs: [
          {
            metaInfoDef: { tags: ['serve'] },
            graphDef: { ...graph, versions: { producer } },
            signatureDef: { serving_default: signature },
          },
        ],
      }),
    )
    .finish()
}

export function shapeProto(shape: readonly (number | null)[]): object {
  return { dim: shape.map((n) => ({ size: n ?? -1 })) }
}
