import type { DenseArray, DTypeName, Strings } from '@millrace/base'

/** One field of a fact: a dense value of `shape` (`[]` a scalar), or `string`. */
export interface FactField {
  readonly name: string
  readonly dtype: DTypeName
  readonly shape: readonly number[]
}

/** A table of facts: raw data by key, written by a feed, read by workflows. Kept with the data, checked at load. */
export interface FactTable {
  readonly name: string
  readonly key: 'string' | 'u64'
  readonly fields: readonly FactField[]
}

/** Keys of one read: a string column or a u64 column of a batch. */
export type FactKeys = Strings | BigUint64Array

/** What one read found; it stays as it is whatever is read or written later. Row `i` belongs to key `i`. Rows not found are zero and `found[i]` is 0. */
export interface FactRows {
  readonly rows: number
  readonly found: Uint8Array
  readonly kept?: KeptRows
  /** One field of all rows, made when it is asked for: many readers want few fields, or none. Throws for another name. */
  column(field: string): DenseArray | Strings
}

/** Where a reader keeps rows: row `i` is its row `ids[i]`, which has one content for as long as `of` is one object. */
export interface KeptRows {
  readonly ids: Int32Array
  /** All ids are below. */
  readonly idsEnd: number
  readonly of: object
}

/** One value of a field: a scalar, text, bytes (`bytes`), or the elements of a shape in row-major order. */
export type FactValue = number | bigint | boolean | string | Uint8Array | ArrayLike<number> | ArrayLike<bigint>

/** One value per field, every field present. NaN is allowed for f32 and f64 and means "unknown". */
export type FactRecord = Readonly<Record<string, FactValue>>

/** Rows of a feed. */
export type FactEntries = Iterable<readonly [key: string | bigint, record: FactRecord]>

/** A table's next rows. Readers see the old ones until `commit`, and then all of the new ones. */
export interface Replacement {
  /** @returns rows written; throws as `FactStore.write`, and a Refusal ABORTED when another replacement has begun */
  write(rows: FactEntries): Promise<number>
  commit(): Promise<void>
  abandon(): Promise<void>
}

/**
 * Where facts live, behind one interface so that a shared network store can join the embedded one. A worker reads; a feed writes. Every implementation passes `test/contract/facts.test.ts`.
 * A read is one call for a whole batch and may be asynchronous (a network store) or not (LMDB).
 */
export interface FactStore {
  /** Resolves when the store can be asked; rejects with a Refusal that says why not. */
  ready(): Promise<void>
  /** What is declared now. */
  tables(): readonly FactTable[]
  /**
   * Reads `keys.length` rows of all fields, into memory of its own. Throws a Refusal NOT_FOUND when the table is
   * not there, INVALID_ARGUMENT when its keys are of the other kind. A key that cannot exist is just not found.
   */
  read(table: string, keys: FactKeys): FactRows | Promise<FactRows>
  /** Creates or replaces a table's declaration; rows written under another declaration are dropped first, rows of the same stay. */
  declare(table: FactTable): Promise<void>
  /**
   * Adds or replaces rows: all of them or, when one is wrong, none. Readers see them together.
   *
   * @returns rows written
   * @throws Refusal naming the table, the key and the field that is missing, unknown, or does not fit
   */
  write(table: string, rows: FactEntries): Promise<number>
  /** Begins to replace a table as a whole, its declaration included. What others write to it meanwhile is lost. */
  replace(table: FactTable): Promise<Replacement>
  /** Rows of a table. */
  count(table: string): Promise<number>
  /** Every row, one at a time and in no order that is promised, until `onRow` answers false. */
  scan(table: string, onRow: (key: string | bigint, row: FactRows) => boolean): Promise<void>
  close(): Promise<void>
}
