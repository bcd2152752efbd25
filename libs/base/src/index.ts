export { assert } from './assert'
export {
  DType,
  denseArray,
  denseView,
  dtypeBytes,
  dtypeNames,
  isRaggedDType,
  type DenseArray,
  type DenseArrays,
  type DenseDType,
  type DTypeCode,
  type DTypeName,
} from './dtype'
export {
  attributeFault,
  attributeSpec,
  bytesPerRow,
  columnsMax,
  contextMax,
  describeColumn,
  elementsPerRow,
  kindOf,
  type AttributeKind,
  type AttributeSpec,
  type AttributeValue,
  type ColumnSpec,
  type Context,
  type Signature,
} from './signature'
export { Strings, StringsWriter, type HeapCursor, type Spans } from './ragged'
export { inlineExports } from './inlined-exports'
export { nowUs, systemClock, type Clock } from './clock'
export { pace, type Pace, type PaceOptions } from './pace'
export { seededRandom } from './random'
export { shareThreadMemory, threadMemory, threadMemoryBytes } from './thread-memory'
export { fnv1a64, murmur3, type U64 } from './hash'
export { Breaker, type BreakerLimits } from './breaker'
export { Arena } from './arena'
export { Buckets, latencyBoundsUs, rowBounds } from './counters'
export { Code, codeNames, codeOf, type CodeName } from './code'
export { Refusal } from './refusal'
export { Traffic, trafficClasses, trafficFault, type TrafficClass } from './traffic'
