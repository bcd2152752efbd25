import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { EngineOptions, Tensor, TensorDType } from './engine'
import { engineError, OutOfMemory } from './engine-errors'
import type { Libtensorflow, Pointer } from './libtensorflow'
import { acquireGraph, type SharedGraph } from './shared-graphs'
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

/** A loaded graph, with which one C call runs a batch. One thread's; the graph itself may be shared. */
export class GraphSession {
  private readonly status: Pointer
  private readonly memories: InputMemory[] = []
  private inputPorts: BigUint64Array = new BigUint64Array(0)
  private outputPorts: BigUint64Array = new BigUint64Array(0)
  private inputs = new BigUint64Array(0)
  private outputs = new BigUint64Array(0)
  private outputNames: readonly Port[] = []
  private results: Tensor[] = []
  private hasRun = false

  constructor(
    private readonly tf: Libtensorflow,
    private readonly loaded: SharedGraph,
  ) {
    this.status = tf.newStatus()
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
      this.loaded.session,
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
    throwStatus(tf, this.status)
    try {
      for (let i = 0; i < this.outputs.length; i++)
        this.results[i] = readTensor(tf, this.outputs[i]!, this.outputNames[i]!, this.results[i]?.data ?? null)
    } finally {
      for (let i = 0; i < this.outputs.length; i++) tf.deleteTensor(this.outputs[i]!)
    }
    if (!this.hasRun) {
      // The first run optimises the graph; several times the weights' size is free memory then (740 MiB of 1,700).
      tf.trim()
      this.hasRun = true
    }
    return this.results
  }

  /** `CPU`, `GPU`: what TensorFlow computes on. */
  devices(): string[] {
    const { tf, status } = this
    const list = tf.listDevices(this.loaded.session, status)
    throwStatus(tf, status)
    const types = Array.from({ length: tf.deviceCount(list) }, (_, i) => tf.deviceType(list, i, status))
    tf.deleteDevices(list)
    return types
  }

  close(): void {
    for (const memory of this.memories) memory.free()
    this.tf.deleteStatus(this.status)
    this.loaded.release()
  }

  private portsOf(ports: readonly Port[]): BigUint64Array {
    return BigUint64Array.from(
      ports.flatMap(({ tensor }) => {
        const [name = '', index = '0'] = tensor.split(':')
        const operation = this.tf.operation(this.loaded.graph, name)
        if (operation === null) throw new Error(`the graph has no operation \`${name}\`, which its signature names`)
        return [operation, BigInt(index)]
      }),
    )
  }
}

function throwStatus(tf: Libtensorflow, status: Pointer): void {
  const code = tf.code(status)
  if (code === 0) return
  const message = tf.message(status).trim()
  throw code === resourceExhausted ? new OutOfMemory(message) : engineError(new Error(message))
}

/**
 * Opens the graph of a SavedModel that has exactly these tags, or joins the threads that have it open. Throws
 * TensorFlow's error.
 */
export function openGraph(
  tf: Libtensorflow,
  folder: string,
  tags: readonly string[],
  options: EngineOptions,
): GraphSession {
  const key = keyOf(folder, tags, options)
  const load = (): { session: Pointer; graph: Pointer } => loadGraph(tf, folder, tags, options)
  return new GraphSession(
    tf,
    acquireGraph(key, load, (loaded) => unloadGraph(tf, loaded)),
  )
}

/** A folder's files as they are now: other files by the same names are another graph. */
function keyOf(folder: string, tags: readonly string[], options: EngineOptions): Uint8Array {
  const hash = createHash('sha256').update(JSON.stringify([tags, options]))
  for (const file of [
    'saved_model.pb',
    'variables',
    'variables/variables.index',
    'variables/variables.data-00000-of-00001',
    'assets',
  ]) {
    const stat = statSync(join(folder, file), { bigint: true, throwIfNoEntry: false })
    if (stat !== undefined) hash.update(`${file} ${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs};`)
  }
  return hash.digest()
}

function loadGraph(
  tf: Libtensorflow,
  folder: string,
  tags: readonly string[],
  options: EngineOptions,
): { session: Pointer; graph: Pointer } {
  const [status, graph] = [tf.newStatus(), tf.newGraph()]
  const sessionOptions = optionsOf(tf, options, status)
  const texts = tags.map((tag) => Buffer.from(`${tag}\0`))
  const addresses = BigUint64Array.from(texts, (text) => tf.addressOf(text))
  const session = tf.loadSavedModel(sessionOptions, null, folder, addresses, tags.length, graph, null, status)
  tf.deleteOptions(sessionOptions)
  try {
    throwStatus(tf, status)
    return { session, graph }
  } catch (error) {
    tf.deleteGraph(graph)
    throw error
  } finally {
    tf.deleteStatus(status)
  }
}

function unloadGraph(tf: Libtensorflow, { session, graph }: { session: Pointer; graph: Pointer }): void {
  const status = tf.newStatus()
  tf.closeSession(session, status)
  tf.deleteSession(session, status)
  tf.deleteGraph(graph)
  tf.deleteStatus(status)
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
  tf.deleteStatus(status)
  unloadGraph(tf, { session, graph })
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
