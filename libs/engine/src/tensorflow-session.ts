import type { EngineOptions, Tensor, TensorDType } from './engine'
import { engineError, OutOfMemory } from './engine-errors'
import type { Libtensorflow, Pointer } from './libtensorflow'
import { InputMemory, readTensor } from './tensorflow-memory'
import { configProto } from './tensorflow-proto'

/** TF_RESOURCE_EXHAUSTED */
const resourceExhausted = 8

/** A tensor of a graph, and what users call it. */
export interface Port {
  readonly name: string
  /** `operation:index` */
  readonly tensor: string
  readonly dtype: TensorDType
}

/** A loaded graph, with which one C call runs a batch. Owns all that it allocates, until `close`. */
export class GraphSession {
  private readonly tf: Libtensorflow
  private readonly status: Pointer
  private readonly graph: Pointer
  private readonly session: Pointer
  private readonly memories: InputMemory[] = []
  private inputPorts: BigUint64Array = new BigUint64Array(0)
  private outputPorts: BigUint64Array = new BigUint64Array(0)
  private inputs = new BigUint64Array(0)
  private outputs = new BigUint64Array(0)
  private outputNames: readonly Port[] = []
  private results: Tensor[] = []

  /** Loads the graph of a SavedModel that has exactly these tags. Throws TensorFlow's error. */
  constructor(tf: Libtensorflow, folder: string, tags: readonly string[], options: EngineOptions) {
    this.tf = tf
    this.status = tf.newStatus()
    this.graph = tf.newGraph()
    const sessionOptions = optionsOf(tf, options, this.status)
    const texts = tags.map((tag) => Buffer.from(`${tag}\0`))
    const addresses = BigUint64Array.from(texts, (text) => tf.addressOf(text))
    this.session = tf.loadSavedModel(
      sessionOptions,
      null,
      folder,
      addresses,
      tags.length,
      this.graph,
      null,
      this.status,
    )
    tf.deleteOptions(sessionOptions)
    const failure = this.failure()
    if (failure === null) return
    tf.deleteGraph(this.graph)
    tf.deleteStatus(this.status)
    throw failure
  }

  /** Says what `run` takes and gives, in this order. Throws for a tensor that the graph does not have. */
  connect(inputs: readonly Port[], outputs: readonly Port[]): void {
    for (const { dtype } of inputs) this.memories.push(new InputMemory(this.tf, dtype))
    this.inputPorts = this.portsOf(inputs)
    this.outputPorts = this.portsOf(outputs)
    this.inputs = new BigUint64Array(inputs.length)
    this.outputs = new BigUint64Array(outputs.length)
    this.outputNames = outputs
  }

  /** Tensors are valid until the next run. Throws TensorFlow's error, which names the node. */
  run(inputs: readonly Tensor[]): readonly Tensor[] {
    const { tf } = this
    for (let i = 0; i < inputs.length; i++) this.inputs[i] = this.memories[i]!.fill(inputs[i]!)
    tf.run(
      this.session,
      null,
      this.inputPorts,
      this.inputs,
      this.inputs.length,
      this.outputPorts,
      this.outputs,
      this.outputs.length,
      null,
      0,
      null,
      this.status,
    )
    const failure = this.failure()
    if (failure !== null) throw failure
    try {
      for (let i = 0; i < this.outputs.length; i++)
        this.results[i] = readTensor(tf, this.outputs[i]!, this.outputNames[i]!, this.results[i]?.data ?? null)
    } finally {
      for (let i = 0; i < this.outputs.length; i++) tf.deleteTensor(this.outputs[i]!)
    }
    return this.results
  }

  /** `CPU`, `GPU`: what TensorFlow computes on. */
  devices(): string[] {
    const list = this.tf.listDevices(this.session, this.status)
    const failure = this.failure()
    if (failure !== null) throw failure
    const types = Array.from({ length: this.tf.deviceCount(list) }, (_, i) => this.tf.deviceType(list, i, this.status))
    this.tf.deleteDevices(list)
    return types
  }

  close(): void {
    for (const memory of this.memories) memory.free()
    this.tf.closeSession(this.session, this.status)
    this.tf.deleteSession(this.session, this.status)
    this.tf.deleteGraph(this.graph)
    this.tf.deleteStatus(this.status)
  }

  private portsOf(ports: readonly Port[]): BigUint64Array {
    return BigUint64Array.from(
      ports.flatMap(({ tensor }) => {
        const [name = '', index = '0'] = tensor.split(':')
        const operation = this.tf.operation(this.graph, name)
        if (operation === null) throw new Error(`the graph has no operation \`${name}\`, which its signature names`)
        return [operation, BigInt(index)]
      }),
    )
  }

  private failure(): Error | null {
    const code = this.tf.code(this.status)
    if (code === 0) return null
    const message = this.tf.message(this.status).trim()
    return code === resourceExhausted ? new OutOfMemory(message) : engineError(new Error(message))
  }
}

/**
 * Settles how many threads the inside of operations may use, which TensorFlow does once a process, with the first
 * session or with tfjs-node's own start, which asks for all CPUs. Called before either.
 */
export function settleThreads(tf: Libtensorflow, options: EngineOptions): void {
  const [status, graph] = [tf.newStatus(), tf.newGraph()]
  const sessionOptions = optionsOf(tf, options, status)
  const session = tf.newSession(graph, sessionOptions, status)
  tf.deleteOptions(sessionOptions)
  tf.closeSession(session, status)
  tf.deleteSession(session, status)
  tf.deleteGraph(graph)
  tf.deleteStatus(status)
}

function optionsOf(tf: Libtensorflow, options: EngineOptions, status: Pointer): Pointer {
  const sessionOptions = tf.newOptions()
  const config = configProto.encode(configProto.fromObject(configOf(options))).finish()
  tf.setConfig(sessionOptions, config, config.length, status)
  return sessionOptions
}

/**
 * Operations run on the calling thread, one after the other (-1), so a worker's graph stays on the worker's CPUs.
 * TensorFlow keeps one pool for the inside of operations a process, of the size that the first session asks for.
 */
export function configOf({ threads, device, memoryBytes }: EngineOptions): object {
  const limited = memoryBytes === undefined ? [] : [{ memoryLimitMb: [memoryBytes / 2 ** 20] }]
  return {
    interOpParallelismThreads: -1,
    intraOpParallelismThreads: threads,
    ...(device === 'cpu'
      ? { deviceCount: { GPU: 0 } }
      : { gpuOptions: { allowGrowth: true, experimental: { virtualDevices: limited } } }),
  }
}
