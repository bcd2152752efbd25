export {
  column,
  fact,
  field,
  onnx,
  savedModel,
  tfjs,
  type Column,
  type Fact,
  type Field,
  type From,
  type Into,
  type IntoTensor,
  type ModelDeclaration,
} from './declare'
export { defineWorkflow, isWorkflow, type Batch, type BatchOptions, type Workflow } from './define'
export { Lists } from './lists'
export { Code, Strings, StringsWriter } from '@millrace/base'
export type { VersionDescription, VersionFolder, VersionState } from './description'
