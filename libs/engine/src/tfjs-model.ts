import { Code, Refusal, type DenseDType } from '@millrace/base'
import type { GraphModel } from '@tensorflow/tfjs-converter'
import type * as Core from '@tensorflow/tfjs-core'
import type { LayersModel } from '@tensorflow/tfjs-layers'
import { checkInputs } from './check-inputs'
import type { Model, ModelFile, Tensor, Tensors, TensorSpec } from './engine'
import { fileHandler, readTfjsFile, type SignatureTensor, type TfjsFile } from './tfjs-file'
import type { TfjsPort } from './tfjs-graph'
import type { TfjsLibrary } from './tfjs-library'

/** A loaded network, whichever kind: tensors in by our input order, tensors out by our output order. */
interface Network {
  readonly inputs: readonly TensorSpec[]
  /** `shape` is null where the file does not say. */
  readonly outputs: readonly {
    readonly name: string
    readonly dtype: DenseDType | null
    readonly shape: TensorSpec['shape'] | null
  }[]
  /** Of a graph, the tensors behind its inputs and outputs. */
  readonly graph?: { readonly inputs: readonly GraphTensor[]; readonly outputs: readonly GraphTensor[] }
  compute(inputs: Core.Tensor[]): Core.Tensor[] | Promise<Core.Tensor[]>
  dispose(): void
}

/** Loads a TFJS model. Rejects, naming it, for an operation or dtype that does not run here. */
export async function loadTfjsModel(tf: TfjsLibrary, modelFile: ModelFile): Promise<TfjsModel> {
  if (modelFile.format !== 'tfjs')
    throw new Refusal(
      Code.INVALID_ARGUMENT,
      `the tfjs engine runs tfjs models, ${modelFile.path} is ${modelFile.format}`,
    )
  const file = readTfjsFile(modelFile.path)
  const network = file.kind === 'graph' ? await loadGraph(tf, file) : await loadLayers(tf, file)
  try {
    return new TfjsModel(tf.core, network, await outputSpecs(tf.core, file, network))
  } catch (error) {
    network.dispose()
    throw error
  }
}

/** A TFJS model that is run operation by operation. */
export class TfjsModel implements Model {
  private disposed = false
  readonly inputs: readonly TensorSpec[]

  constructor(
    private readonly core: typeof Core,
    private readonly network: Network,
    readonly outputs: readonly TensorSpec[],
  ) {
    this.inputs = network.inputs
  }

  /** Of a graph model: names, specs and the graph's own tensors. */
  graphPorts(): { inputs: TfjsPort[]; outputs: TfjsPort[] } | null {
    const { graph } = this.network
    if (graph === undefined) return null
    const ports = (specs: readonly TensorSpec[], tensors: readonly GraphTensor[]): TfjsPort[] =>
      specs.map((spec, i) => ({ ...spec, tensor: tensors[i]!.tensorName, graphType: tensors[i]!.graphType }))
    return { inputs: ports(this.inputs, graph.inputs), outputs: ports(this.outputs, graph.outputs) }
  }

  async run(inputs: Tensors): Promise<Tensors> {
    if (this.disposed) throw new Error('the model was disposed')
    checkInputs(this.inputs, inputs)
    const given = this.inputs.map((spec) => toTfjs(this.core, inputs[spec.name]!))
    const answer = await computeAndFree(this.network, given)
    const results: Record<string, Tensor> = {}
    answer.forEach((tensor, i) => {
      const { name, dtype } = this.outputs[i]!
      results[name] = { dtype, shape: tensor.shape, data: tensor.dataSync() as Tensor['data'] }
      tensor.dispose()
    })
    return results
  }

  dispose(): void {
    if (this.disposed) return
    this.disposed = true
    this.network.dispose()
  }
}

async function computeAndFree(network: Network, inputs: Core.Tensor[]): Promise<Core.Tensor[]> {
  try {
    const answer = network.compute(inputs)
    // One await less where there is nothing to wait for.
    return answer instanceof Promise ? await answer : answer
  } finally {
    for (const tensor of inputs) tensor.dispose()
  }
}

const tfjsTypes = { f32: 'float32', i32: 'int32', bool: 'bool' } as const

/** The wasm backend copies `data` into its own memory at once, so a view on shared memory is as good as any. */
function toTfjs(core: typeof Core, { dtype, shape, data }: Tensor): Core.Tensor {
  return core.tensor(data as Float32Array, shape as number[], tfjsTypes[dtype as keyof typeof tfjsTypes])
}

/** TFJS keeps all integers as int32. */
const dtypes: Readonly<Record<string, DenseDType>> = {
  float32: 'f32',
  int32: 'i32',
  bool: 'bool',
  DT_FLOAT: 'f32',
  DT_INT32: 'i32',
  DT_INT64: 'i32',
  DT_INT8: 'i32',
  DT_UINT8: 'i32',
  DT_BOOL: 'bool',
}

function dtypeOf(file: TfjsFile, what: string, name: string, dtype: string | undefined): DenseDType {
  const known = dtypes[dtype ?? 'float32']
  if (known !== undefined) return known
  const strings = dtype === 'string' || dtype === 'DT_STRING'
  throw new Refusal(
    Code.UNIMPLEMENTED,
    `${file.path}: ${what} \`${name}\` is ${strings ? 'a string tensor' : dtype}; the tfjs engine runs tensors of ` +
      `f32, i32 and bool${strings ? ': turn text into numbers in preprocess' : ''}`,
  )
}

/** TFJS answers one output alone and several in a list. */
function listOf(answer: Core.Tensor | Core.Tensor[] | Core.NamedTensorMap): Core.Tensor[] {
  return Array.isArray(answer) ? answer : [answer as Core.Tensor]
}

async function loadLayers(tf: TfjsLibrary, file: TfjsFile): Promise<Network> {
  const model: LayersModel = await tf.layers.loadLayersModel(fileHandler(tf.core, file))
  // A sequential model has no names for its tensors until it is built, which its first run would do.
  if (model.inputNames.length === 0) (model as unknown as { build(): void }).build()
  const spec = (what: string) => (tensor: { dtype: string; shape: (number | null)[] }, name: string) => ({
    name,
    dtype: dtypeOf(file, what, name, tensor.dtype),
    shape: tensor.shape,
  })
  return {
    inputs: model.inputs.map((tensor, i) => spec('input')(tensor, model.inputNames[i]!)),
    outputs: model.outputs.map((tensor, i) => spec('output')(tensor, model.outputNames[i]!)),
    compute: (inputs) =>
      tf.core.tidy(() => {
        const answer = model.apply(inputs.length === 1 ? inputs[0]! : inputs, { training: false })
        return listOf(answer as Core.Tensor | Core.Tensor[])
      }),
    dispose: () => void model.dispose(),
  }
}

async function loadGraph(tf: TfjsLibrary, file: TfjsFile): Promise<Network> {
  const model = await tf.converter.loadGraphModel(fileHandler(tf.core, file))
  try {
    return graphNetwork(file, model)
  } catch (error) {
    model.dispose()
    throw error
  }
}

/** A declared tensor and the name that TFJS knows it by. */
export interface GraphTensor {
  readonly name: string
  readonly tensorName: string
  /** `DT_INT64`, where the file says it. */
  readonly graphType: string | undefined
  readonly dtype: DenseDType | null
  readonly shape: TensorSpec['shape'] | null
}

function graphNetwork(file: TfjsFile, model: GraphModel): Network {
  const nodes = nodesOf(model)
  const unknown = [
    ...new Set(nodes.filter(({ category }) => category === undefined || category === 'custom').map((node) => node.op)),
  ]
  if (unknown.length > 0)
    throw new Refusal(
      Code.UNIMPLEMENTED,
      `${file.path} uses operations that TFJS does not have: ${unknown.sort().join(', ')}`,
    )
  const inputs = graphInputs(file, model).map((tensor): TensorSpec & GraphTensor => {
    if (tensor.shape === null)
      throw new Refusal(
        Code.UNIMPLEMENTED,
        `${file.path}: input \`${tensor.name}\` does not say its shape; convert the model again with a signature`,
      )
    return { ...tensor, dtype: tensor.dtype ?? 'f32', shape: tensor.shape }
  })
  const outputs = graphOutputs(file, model, nodes)
  const feedNames = inputs.map((input) => input.tensorName)
  const fetchNames = outputs.map((output) => output.tensorName)
  // Graphs with control flow or shapes that depend on values run asynchronously; TFJS says so when it is asked to
  // run one otherwise, before it computes anything.
  let waits = false
  const compute = (tensors: Core.Tensor[]): Core.Tensor[] | Promise<Core.Tensor[]> => {
    const feeds: Core.NamedTensorMap = {}
    tensors.forEach((tensor, i) => (feeds[feedNames[i]!] = tensor))
    if (!waits) {
      try {
        return listOf(model.execute(feeds, fetchNames))
      } catch (error) {
        if (!(error as Error).message.includes('executeAsync')) throw error
        waits = true
      }
    }
    return model.executeAsync(feeds, fetchNames).then(listOf)
  }
  return {
    inputs: inputs.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
    outputs: outputs.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
    graph: { inputs, outputs },
    compute,
    dispose: () => model.dispose(),
  }
}

/** By the signature, or else the graph's placeholders. */
function graphInputs(file: TfjsFile, model: GraphModel): GraphTensor[] {
  const declared = Object.entries(file.signature?.inputs ?? {})
  // A captured resource has no name of a node of this graph and is no input for users.
  const usable = declared.filter(([, tensor]) => tensor.dtype !== 'DT_RESOURCE')
  if (usable.length > 0) return usable.map(([name, tensor]) => signatureTensor(file, 'input', name, tensor))
  return model.inputs.map(({ name, dtype, shape }) => ({
    name,
    tensorName: name,
    graphType: undefined,
    dtype: dtypeOf(file, 'input', name, dtype),
    shape: shape?.map((n) => (n < 0 ? null : n)) ?? null,
  }))
}

/** By the signature, or else the nodes that nothing reads. */
function graphOutputs(file: TfjsFile, model: GraphModel, nodes: readonly GraphNode[]): GraphTensor[] {
  const declared = Object.entries(file.signature?.outputs ?? {})
  if (declared.length > 0) return declared.map(([name, tensor]) => signatureTensor(file, 'output', name, tensor))
  const silent = new Set(nodes.filter((node) => node.op === 'NoOp').map((node) => node.name))
  return model.outputs
    .filter(({ name }) => !silent.has(name))
    .map(({ name }) => ({ name, tensorName: name, graphType: undefined, dtype: null, shape: null }))
}

function signatureTensor(file: TfjsFile, what: string, name: string, tensor: SignatureTensor): GraphTensor {
  const { tensorShape } = tensor
  return {
    name,
    tensorName: what === 'input' ? tensor.name.replace(/:0$/, '') : tensor.name,
    graphType: tensor.dtype,
    dtype: dtypeOf(file, what, name, tensor.dtype),
    shape:
      tensorShape === undefined || tensorShape.unknownRank === true
        ? null
        : (tensorShape.dim ?? []).map(({ size }) => (Number(size ?? 0) < 0 ? null : Number(size ?? 0))),
  }
}

interface GraphNode {
  readonly name: string
  readonly op: string
  /** Absent or `custom` for an operation that the converter does not know. */
  readonly category?: string
}

/** The converter keeps the parsed graph to itself; without it, only the check of operations at load is lost. */
function nodesOf(model: GraphModel): readonly GraphNode[] {
  const { executor } = model as unknown as { executor?: { graph?: { nodes?: Record<string, GraphNode> } } }
  return Object.values(executor?.graph?.nodes ?? {})
}

/**
 * The outputs' specs. Where the file does not say them, two runs on zeros do: with one and with two rows, and
 * what differs between them is free; rows alone are where two rows of zeros do not suit the model. The run also finds
 * operations that no kernel here computes.
 */
async function outputSpecs(core: typeof Core, file: TfjsFile, network: Network): Promise<TensorSpec[]> {
  const said = network.outputs.every((output) => output.dtype !== null && output.shape !== null)
  const knowable = network.inputs.every((input) => input.shape.slice(1).every((n) => n !== null))
  if (!knowable && !said)
    throw new Refusal(
      Code.UNIMPLEMENTED,
      `${file.path} says no shape for its outputs and has inputs of free shape; convert it again with a signature`,
    )
  const one = knowable ? await dryRun(core, file, network, 1, said) : null
  if (said) return network.outputs.map(({ name, dtype, shape }) => ({ name, dtype: dtype!, shape: shape! }))
  const two = await dryRun(core, file, network, 2, true)
  return network.outputs.map(({ name, dtype, shape }, i) => {
    const first = one![i]!
    const isFree = (n: number, d: number): boolean => (two === null ? d === 0 : n !== two[i]!.shape[d])
    return {
      name,
      dtype: dtype ?? dtypeOf(file, 'output', name, first.dtype),
      shape: shape ?? first.shape.map((n, d) => (isFree(n, d) ? null : n)),
    }
  })
}

async function dryRun(
  core: typeof Core,
  file: TfjsFile,
  network: Network,
  rows: number,
  /** Zeros need not be good values: only a missing kernel is held against the model then. */
  forgiving: boolean,
): Promise<{ dtype: string; shape: number[] }[] | null> {
  const zeros = network.inputs.map(({ dtype, shape }) =>
    core.zeros(
      shape.map((n) => n ?? rows),
      tfjsTypes[dtype as keyof typeof tfjsTypes],
    ),
  )
  try {
    const answer = await computeAndFree(network, zeros)
    return answer.map((tensor) => {
      const { dtype, shape } = tensor
      tensor.dispose()
      return { dtype, shape }
    })
  } catch (error) {
    const { message } = error as Error
    const kernel = /Kernel '([^']+)' not registered/.exec(message)?.[1]
    if (kernel !== undefined)
      throw new Refusal(
        Code.UNIMPLEMENTED,
        `${file.path} needs the operation ${kernel}, which no TFJS backend here has`,
      )
    if (forgiving) return null
    throw new Error(`${file.path} does not run: ${message}`, { cause: error })
  }
}
