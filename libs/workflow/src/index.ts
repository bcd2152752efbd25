// For workflow files.
export {
  attribute,
  column,
  fact,
  field,
  onnx,
  savedModel,
  tfjs,
  type Attribute,
  type Column,
  type Fact,
  type Field,
  type From,
  type Into,
  type IntoTensor,
  type ModelDeclaration,
  type ModelDeclarations,
  type RunModel,
  type RunModels,
} from './declare'
export { defineWorkflow, isWorkflow, type Batch, type BatchOptions, type Workflow } from './define'
export { Lists } from './lists'
export * as steps from './steps/index'
export { Vocabulary } from './steps/vocabulary'
export { Code, Strings, StringsWriter } from '@millrace/base'

// For those who load and run them.
export { columnsFromJson, columnsToJson, contextColumns, type ColumnValues, type RequestColumns } from './columns-json'
export type { BatchColumns } from '@millrace/batch'
export type { BatchSink, Phase } from './context'
export {
  loadStates,
  type ModelDescription,
  type VersionDescription,
  type VersionFolder,
  type VersionState,
} from './description'
export { EngineChecks, largestDifference, type EngineCheck } from './engine-checks'
export { Engines } from './engines'
export { importDefault } from './import-file'
export { emptyDescription, loadVersion, type LoadContext, type LoadResult } from './load'
export { LoadedVersion } from './loaded'
export { readGolden } from './golden'
export { memoryBatch, type Part } from './memory-batch'
export { messageOf, toldWithPlace } from './message-of'
export { runOffline, type OfflineAnswer, type OfflineOptions } from './offline'
export { runRepository } from './offline-repository'
export { fingerprint, namePattern, readRepository, type Repository } from './repository'
export { runBatch } from './run'
export type { Step } from './step'
