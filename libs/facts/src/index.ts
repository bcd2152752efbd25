export type {
  FactEntries,
  FactField,
  FactKeys,
  FactRecord,
  FactRows,
  FactStore,
  FactTable,
  FactValue,
  Replacement,
} from './store'
export { keyBytesMax } from './keys'
export { checkTable } from './table'
export { MemoryStore } from './memory'
export { openLmdb, type LmdbOptions, type LmdbStore } from './lmdb'
export { openFacts } from './open'
export { FieldRefusal, rowChecker } from './record'
