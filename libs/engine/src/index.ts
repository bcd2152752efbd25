export type {
  Availability,
  Engine,
  EngineKind,
  EngineOptions,
  Model,
  ModelFile,
  ModelFormat,
  Tensor,
  TensorArrays,
  TensorDType,
  Tensors,
  TensorSpec,
} from './engine'
export { describeSpec } from './check-inputs'
export { DeviceLost, isDeviceLost, isOutOfMemory, OutOfMemory } from './engine-errors'
export { engineFor, engines } from './engines'
export { writeSavedModel, type GraphDef, type NodeDef, type WrittenGraph } from './graph-def'
export { inspect, type Inspection } from './inspect'
export { findModelFile } from './model-file'
export {
  mlpGraph,
  writeOnnx,
  type DenseLayer,
  type OnnxAttribute,
  type OnnxGraph,
  type OnnxNode,
  type OnnxValue,
} from './onnx-file'
export {
  enginesFolder,
  findTensorflow,
  installTensorflow,
  readReceipt,
  tensorflowFolder,
  tensorflowLayout,
  tensorflowManifest,
  tensorflowPins,
  type TensorflowInstall,
  type TensorflowMissing,
  type TensorflowReceipt,
} from './tensorflow-home'
