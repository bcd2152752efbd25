export type {
  FactEntries,
  FactField,
  FactKeys,
  FactRecord,
  FactRows,
  FactStore,
  FactTable,
  FactValue,
  KeptRows,
  Replacement,
} from './store'
export { rowsNotFound } from './columns'
export { keyBytesMax } from './keys'
export { checkTable } from './table'
export { MemoryStore } from './memory'
export { openLmdb, type LmdbOptions, type LmdbStore } from './lmdb'
export { openFacts, openWhenReady, shownLocation } from './open'
export { openRedis, type RedisOptions, type RedisStore } from './redis'
export { FieldRefusal, rowChecker } from './record'
