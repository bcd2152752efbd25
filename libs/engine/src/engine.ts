import type { DenseArrays, Strings } from '@millrace/base'

/** What holds a tensor's elements, by dtype. Strings are bytes, not necessarily UTF-8. */
export interface TensorArrays extends DenseArrays {
  string: Strings
}
export type TensorDType = keyof TensorArrays

/** Elements in row-major order. `data.length` is the product of `shape`. */
export interface Tensor<D extends TensorDType = TensorDType> {
  readonly dtype: D
  readonly shape: readonly number[]
  readonly data: TensorArrays[D]
}
export type Tensors = Readonly<Record<string, Tensor>>

/** A model's own declaration of one input or output. A `null` dimension is free; the first one is the batch. */
export interface TensorSpec {
  readonly name: string
  readonly dtype: TensorDType
  readonly shape: readonly (number | null)[]
}

export type ModelFormat = 'onnx' | 'tfjs' | 'savedmodel'

/** A trained model as files: for `onnx` the file, for `tfjs` its `model.json`, for `savedmodel` the folder. */
export interface ModelFile {
  readonly format: ModelFormat
  /** Absolute path. */
  readonly path: string
  /** Of a SavedModel, the signature to run; `serving_default` where it is not said. */
  readonly signature?: string
}

export interface EngineOptions {
  /** Threads that one `run` may use; 1 keeps a worker on its CPU. */
  readonly threads: number
  /** `cpu`, `cuda:0`, `webgpu:0`. */
  readonly device: string
  /** Bytes of the device's memory that the engine may take, of this process; an engine that cannot obey refuses. */
  readonly memoryBytes?: number
}

/** A model loaded by an engine. One thread owns it; `run` is never called while another `run` of it is under way. */
export interface Model {
  readonly inputs: readonly TensorSpec[]
  readonly outputs: readonly TensorSpec[]
  /**
   * Inputs may be views on shared memory; the engine copies where its library needs that. Outputs are valid
   * until the next `run`. Rejects with the library's error, prefixed with the input's name where it is known.
   */
  run(inputs: Tensors): Promise<Tensors>
  dispose(): void
}

export interface Engine {
  readonly name: string
  load(file: ModelFile): Promise<Model>
  dispose(): void
}

export type Availability =
  | { readonly available: true; readonly version: string }
  | { readonly available: false; readonly reason: string; readonly install: string }

/** An engine that may or may not be there. Listed once in `engines.ts`; everything else goes by this. */
export interface EngineKind {
  readonly name: string
  readonly formats: readonly ModelFormat[]
  /** Kinds of device that it computes on; the CPU alone unless said. */
  readonly devices?: readonly string[]
  /** Finds out without loading the library where possible. */
  probe(): Availability
  /** Rejects with a Refusal, which says what to do, where the device is not there: no device stands in for another. */
  create(options: EngineOptions): Promise<Engine>
}
