import { isUtf8 } from 'node:buffer'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Code, denseArray, Refusal, Strings, type DenseArray, type DenseDType } from '@millrace/base'
import { checkInputs } from './check-inputs'
import { engineError } from './engine-errors'
import { providerOf, smallestModel, whatIsMissing, type Missing } from './onnxruntime-device'
import type {
  Availability,
  Engine,
  EngineKind,
  EngineOptions,
  Model,
  ModelFile,
  Tensor,
  TensorDType,
  Tensors,
  TensorSpec,
} from './engine'

/*
 * ONNX models through onnxruntime-node.
 *
 * The package's own `session.run` waits for `setImmediate`, then calls its native binding, which computes on
 * the calling thread and returns. We call the binding: a worker has nothing else to do meanwhile, and a turn of
 * the event loop a batch is saved. MLP 64-128-64-1, microseconds a run, wrapper / here: batch 1 10.2 / 8.0,
 * batch 8 12.1 / 10.1, batch 128 43.7 / 41.2 (Node 20.20, idle machine, `npx jiti bench/models/time-onnxruntime.ts`).
 * Tried and lost: outputs preallocated by us, 0.5 slower at batch 1 and the same at 128.
 */

export const onnxruntime: EngineKind = {
  name: 'onnxruntime',
  formats: ['onnx'],
  devices: ['cpu', 'cuda', 'webgpu'],
  probe,
  create: (options) => new Promise((resolve) => resolve(createEngine(options))),
}

/** Only what is fatal is printed: errors are thrown, with the same words. */
const silent = 4

const install = 'npm install onnxruntime-node@1.30.0'

function probe(): Availability {
  let folder: string
  try {
    folder = packageFolder()
  } catch {
    return { available: false, reason: 'the package onnxruntime-node is not installed', install }
  }
  if (!existsSync(join(libraryFolder(folder), 'onnxruntime_binding.node')))
    return { available: false, reason: `onnxruntime-node has no library for ${platform}`, install }
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }
  return { available: true, version }
}

const platform = `${process.platform}/${process.arch}`

function packageFolder(): string {
  return dirname(createRequire(__filename).resolve('onnxruntime-node/package.json'))
}

function libraryFolder(folder: string): string {
  return join(folder, 'bin/napi-v6', platform)
}

/** The part of onnxruntime-node's native binding that we use; it is the same one its JavaScript wraps. */
interface Binding {
  readonly InferenceSession: new () => Session
  listSupportedBackends(): readonly { readonly name: string }[]
}
interface Session {
  loadModel(path: string, options: object): void
  loadModel(buffer: ArrayBufferLike, begin: number, length: number, options: object): void
  readonly inputMetadata: readonly ValueMetadata[]
  readonly outputMetadata: readonly ValueMetadata[]
  run(
    feeds: Record<string, OrtTensor>,
    fetches: Record<string, OrtTensor | null>,
    options: object,
  ): Record<string, OrtTensor>
  dispose(): void
}
interface ValueMetadata {
  readonly name: string
  readonly isTensor: boolean
  readonly type: number
  /** -1 is a free dimension. */
  readonly shape: readonly number[]
}
interface OrtTensor {
  readonly dims: readonly number[]
  readonly data: DenseArray | readonly string[]
}
interface Ort {
  readonly binding: Binding
  readonly Tensor: new (type: string, data: OrtTensor['data'], dims: readonly number[]) => OrtTensor
}

/** Loads the library, once a thread. */
function loadLibrary(): Ort {
  /* eslint-disable @typescript-eslint/no-require-imports -- loaded only where a model needs it */
  const { Tensor } = require('onnxruntime-node') as Pick<Ort, 'Tensor'>
  const { binding, initOrt } = require('onnxruntime-node/dist/binding') as { binding: Binding; initOrt: () => void }
  /* eslint-enable @typescript-eslint/no-require-imports */
  initOrt()
  return { binding, Tensor }
}

function createEngine(options: EngineOptions): Engine {
  const found = probe()
  if (!found.available) throw new Refusal(Code.FAILED_PRECONDITION, `${found.reason}: ${found.install}`)
  if (options.memoryBytes !== undefined)
    throw new Refusal(
      Code.FAILED_PRECONDITION,
      'onnxruntime-node takes no memory limit for a device: leave MILLRACE_POOL_<NAME>_MEMORY out, or give the pool the ' +
        'tensorflow engine alone (MILLRACE_POOL_<NAME>_ENGINES)',
    )
  const ort = loadLibrary()
  const session = sessionOptions(ort, options)
  const opened = options.device.startsWith('cpu') ? null : openDevice(ort, options.device, session)
  if (opened !== null && 'reason' in opened)
    throw new Refusal(Code.FAILED_PRECONDITION, `${opened.reason}: ${opened.install}`)
  return {
    name: 'onnxruntime',
    load: (file) => new Promise((resolve) => resolve(loadModel(ort, file, session))),
    dispose: () => opened?.dispose(),
  }
}

function sessionOptions(ort: Ort, { device, threads }: EngineOptions): object {
  const known = ort.binding.listSupportedBackends().map((backend) => backend.name)
  return {
    executionProviders: [providerOf(device, known)],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: silent,
    // A thread that spins between batches would burn the CPU that the front thread needs.
    extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
  }
}

/** A session that does nothing: whether the device is there is known before a model needs it, and it stays open between models. */
function openDevice(ort: Ort, device: string, options: object): Session | Missing {
  const session = new ort.binding.InferenceSession()
  const model = smallestModel()
  try {
    session.loadModel(model.buffer, model.byteOffset, model.byteLength, options)
  } catch (error) {
    return whatIsMissing(device, error, libraryFolder(packageFolder()))
  }
  return session
}

function loadModel(ort: Ort, file: ModelFile, options: object): Model {
  if (file.format !== 'onnx')
    throw new Refusal(Code.INVALID_ARGUMENT, `onnxruntime runs onnx models, ${file.path} is ${file.format}`)
  const session = new ort.binding.InferenceSession()
  try {
    session.loadModel(file.path, options)
  } catch (error) {
    const { message } = error as Error
    throw new Error(`${file.path}: ${message}`, { cause: engineError(error) })
  }
  const inputs = session.inputMetadata.map((value) => specOf('input', value))
  const outputs = session.outputMetadata.map((value) => specOf('output', value))
  return new OnnxModel(ort, session, inputs, outputs)
}

/** Our dtype and the name that onnxruntime's Tensor takes, by ONNX's type number. */
const dtypes: Readonly<Record<number, readonly [TensorDType, string]>> = {
  1: ['f32', 'float32'],
  2: ['u8', 'uint8'],
  3: ['i8', 'int8'],
  4: ['u16', 'uint16'],
  5: ['i16', 'int16'],
  6: ['i32', 'int32'],
  7: ['i64', 'int64'],
  8: ['string', 'string'],
  9: ['bool', 'bool'],
  11: ['f64', 'float64'],
  12: ['u32', 'uint32'],
  13: ['u64', 'uint64'],
}
const otherTypes: Readonly<Record<number, string>> = { 10: 'float16', 14: 'complex64', 16: 'bfloat16' }
const ortTypes = Object.fromEntries(Object.values(dtypes)) as Record<TensorDType, string>

function specOf(kind: 'input' | 'output', value: ValueMetadata): TensorSpec {
  const type = value.isTensor ? dtypes[value.type] : undefined
  if (type === undefined)
    throw new Refusal(
      Code.UNIMPLEMENTED,
      `${kind} \`${value.name}\` is ${value.isTensor ? (otherTypes[value.type] ?? `of ONNX type ${value.type}`) : 'no tensor'}; ` +
        `Millrace runs tensors of ${Object.keys(ortTypes).join(', ')}: cast it inside the model`,
    )
  return { name: value.name, dtype: type[0], shape: value.shape.map((n) => (n < 0 ? null : n)) }
}

/** The memory of one input, kept between runs. */
interface Staging {
  array: DenseArray
  /** Over the first elements of `array`; made again only when the shape differs from the last batch's. */
  tensor: OrtTensor | null
}

class OnnxModel implements Model {
  private readonly stagings: Staging[]
  private readonly feeds: Record<string, OrtTensor> = {}
  private readonly fetches: Record<string, null> = {}
  private readonly results: Record<string, Tensor> = {}
  private readonly runOptions = { logSeverityLevel: silent }
  private disposed = false

  constructor(
    private readonly ort: Ort,
    private readonly session: Session,
    readonly inputs: readonly TensorSpec[],
    readonly outputs: readonly TensorSpec[],
  ) {
    this.stagings = inputs.map(({ dtype }) => ({
      array: denseArray(dtype === 'string' ? 'u8' : dtype, 0),
      tensor: null,
    }))
    for (const spec of outputs) this.fetches[spec.name] = null
  }

  // `async` only to turn what is thrown into a rejection: nothing here waits.
  // eslint-disable-next-line @typescript-eslint/require-await
  async run(inputs: Tensors): Promise<Tensors> {
    if (this.disposed) throw new Error('the model was disposed')
    checkInputs(this.inputs, inputs)
    for (let i = 0; i < this.inputs.length; i++) {
      const name = this.inputs[i]!.name
      const input = inputs[name]!
      this.feeds[name] =
        input.data instanceof Strings
          ? new this.ort.Tensor('string', textOf(name, input.data), input.shape)
          : this.stage(this.stagings[i]!, input as Tensor<DenseDType>)
    }
    const answer = this.compute()
    for (let i = 0; i < this.outputs.length; i++) {
      const { name, dtype } = this.outputs[i]!
      const tensor = answer[name]!
      const data = dtype === 'string' ? Strings.of(tensor.data as string[]) : (tensor.data as DenseArray)
      this.results[name] = { dtype, shape: tensor.dims, data }
    }
    return this.results
  }

  private compute(): Record<string, OrtTensor> {
    try {
      return this.session.run(this.feeds, this.fetches, this.runOptions)
    } catch (error) {
      throw engineError(error)
    }
  }

  dispose(): void {
    if (this.disposed) return
    this.disposed = true
    this.session.dispose()
  }

  /** The tensor that the library reads: over the caller's memory, or a copy where that is shared (Node 20 refuses it). */
  private stage(staging: Staging, input: Tensor<DenseDType>): OrtTensor {
    const { data, shape } = input
    const type = ortTypes[input.dtype]
    if (!(data.buffer instanceof SharedArrayBuffer)) return new this.ort.Tensor(type, data, shape)
    if (staging.array.length < data.length) {
      staging.array = denseArray(input.dtype, ceilPowerOfTwo(data.length))
      staging.tensor = null
    }
    copyInto(staging.array, data)
    if (staging.tensor === null || !sameShape(staging.tensor.dims, shape))
      staging.tensor = new this.ort.Tensor(type, staging.array.subarray(0, data.length), [...shape])
    return staging.tensor
  }
}

/** onnxruntime's strings are text: what is no UTF-8 would come to it as something else. */
function textOf(name: string, strings: Strings): string[] {
  for (let i = 0; i < strings.length; i++)
    if (!isUtf8(strings.bytes(i)))
      throw new Error(`input \`${name}\`: string ${i} is not UTF-8, which is what onnxruntime's strings are`)
  return strings.toArray()
}

function copyInto(target: DenseArray, source: DenseArray): void {
  // One dtype on both sides, which the union does not say.
  ;(target as Float32Array).set(source as Float32Array)
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return a.length === b.length
}

function ceilPowerOfTwo(n: number): number {
  return n <= 1 ? 1 : 2 ** Math.ceil(Math.log2(n))
}
