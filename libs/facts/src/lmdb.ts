import { Code, Refusal } from '@millrace/base'
import { ColumnsBuilder } from './columns'
import { checkKeyKind, decodeKey, encodeKey, isStringKeys, keyBytesMax } from './keys'
import { explained, openEnvironment, type Environment, type KeyRange } from './lmdb-environment'
import { LmdbKey } from './lmdb-key'
import { settle } from './memory'
import { encodeRecord, planRecord, type RecordPlan } from './record'
import { RowCache } from './row-cache'
import type { FactEntries, FactKeys, FactRows, FactStore, FactTable, Replacement } from './store'
import { plainTable, sameTable, tableNotFound, validateTable } from './table'

/*
 * Facts in LMDB: one memory-mapped folder that any number of threads and processes of a machine read while one
 * writes. Keys begin with a table's number, big endian, so that a table is a range:
 *
 *   0, ''       the catalogue's state: generation u32 (changes with every declaration), next table number u32
 *   0, name     a declaration, JSON: { id, table }
 *   0, fe id    rows that belong to no table, or not yet: the name of the table that is being loaded
 *   0, ff id    how often a table was written to, u32: what a reader keeps of it is good while this stays
 *   id, key     a record
 *
 * A changed declaration gets a new number and its old rows are deleted in the same transaction, so a reader sees
 * the table before or after, never a mixture. Every read looks at the generation first, in its own snapshot.
 */

export interface LmdbOptions {
  /** Readers should: nothing is created, and the folder may belong to somebody else. */
  readonly readOnly: boolean
  /** Bytes of rows that this thread keeps of each table, while the table does not change; default 16 MiB. */
  readonly cacheBytesMax?: number
}

const cacheBytesDefault = 16 * 2 ** 20

/** Opens the facts in folder `path`; a writer creates it. Throws a Refusal NOT_FOUND when a reader finds nothing. */
export function openLmdb(path: string, options: LmdbOptions): LmdbStore {
  const db = openEnvironment(path, options.readOnly)
  return new LmdbStore(path, db, options.readOnly, options.cacheBytesMax ?? cacheBytesDefault)
}

interface Declared {
  readonly id: number
  readonly plan: RecordPlan
  readonly cache: RowCache
}

export class LmdbStore implements FactStore {
  private generation = -1
  private nextId = 1
  private declared = new Map<string, Declared>()
  private readonly key = new LmdbKey()

  constructor(
    readonly path: string,
    private readonly db: Environment,
    readonly readOnly: boolean,
    private readonly cacheBytesMax: number,
  ) {}

  ready(): Promise<void> {
    return Promise.resolve()
  }

  tables(): readonly FactTable[] {
    this.newSnapshot()
    return [...this.declared.values()].map(({ plan }) => plan.table)
  }

  read(name: string, keys: FactKeys): FactRows {
    const { db } = this
    this.newSnapshot()
    const table = this.find(name)
    checkKeyKind(table.plan.table, keys)
    const { id, cache } = table
    const rows = keys.length
    const bytes = isStringKeys(keys) ? keys.heap : new Uint8Array(keys.buffer, keys.byteOffset, keys.byteLength)
    cache.begin(this.versionOf(id), rows, bytes)
    try {
      this.fill(id, keys, bytes, cache)
    } catch (error) {
      cache.forget()
      throw error
    }
    // Hold no snapshot between batches: the writer could not use its old pages again and the file would grow.
    db.resetReadTxn()
    return cache.finish(rows)
  }

  /** In the order of the keys: sorted ones are not found faster, with the sorting paid or not. */
  private fill(id: number, keys: FactKeys, bytes: Uint8Array, cache: RowCache): void {
    const { db, key } = this
    const rows = keys.length
    if (isStringKeys(keys)) {
      const { spans } = keys
      for (let row = 0; row < rows; row++) {
        const begin = spans[2 * row]!
        const length = spans[2 * row + 1]!
        if (length > keyBytesMax) cache.miss(row)
        else if (!cache.has(row, begin, length)) {
          const record = db.getBinaryFast(key.bytes(id, bytes, begin, length))
          if (record !== undefined) cache.put(row, record, record.length)
        }
      }
    } else {
      for (let row = 0; row < rows; row++) {
        if (cache.has(row, 8 * row, 8)) continue
        const record = db.getBinaryFast(key.u64(id, bytes, 8 * row))
        if (record !== undefined) cache.put(row, record, record.length)
      }
    }
  }

  declare(table: FactTable): Promise<void> {
    return settle(() => {
      validateTable(table)
      this.transact(() => {
        const old = this.declared.get(table.name)
        if (old !== undefined && sameTable(old.plan.table, table)) return
        if (old !== undefined) this.deleteRows(old.id)
        const id = this.takeId()
        this.putDeclaration(id, table)
      })
    })
  }

  replace(table: FactTable): Promise<Replacement> {
    return settle(() => {
      validateTable(table)
      const { name } = table
      this.collect(name)
      const plan = planRecord(plainTable(table))
      const id = this.transact(() => {
        const taken = this.takeId()
        this.putGarbage(taken, name)
        return taken
      })
      return {
        write: (rows) => settle(() => this.transact(() => (this.checkOwner(id, name), this.putRows(id, plan, rows)))),
        commit: () =>
          settle(() => {
            this.transact(() => {
              this.checkOwner(id, name)
              const old = this.declared.get(name)
              this.db.removeSync(this.key.bytes(catalogueId, garbageKey(id), 0, 5))
              if (old !== undefined) this.putGarbage(old.id, name)
              this.takeId()
              this.putDeclaration(id, plan.table)
            })
            this.collect(name)
          }),
        abandon: () => settle(() => this.collect(name)),
      }
    })
  }

  scan(name: string, onRow: (key: string | bigint, rows: FactRows) => boolean): Promise<void> {
    return settle(() => {
      this.newSnapshot()
      const { id, plan } = this.find(name)
      for (const { key, value } of this.db.getRange(range(id))) {
        const row = new ColumnsBuilder(plan, 1, value.length)
        row.put(0, value, value.length)
        if (!onRow(decodeKey(plan.table, key.toBytes()), row.finish())) return
      }
    })
  }

  count(name: string): Promise<number> {
    return settle(() => {
      this.newSnapshot()
      return this.db.getKeysCount(range(this.find(name).id))
    })
  }

  write(name: string, rows: FactEntries): Promise<number> {
    return settle(() =>
      this.transact(() => {
        const { id, plan } = this.find(name)
        return this.putRows(id, plan, rows)
      }),
    )
  }

  async close(): Promise<void> {
    await this.db.close()
  }

  /** Runs `work` in one write transaction, with the catalogue as it is in there; what it throws undoes everything. */
  private transact<T>(work: () => T): T {
    if (this.readOnly)
      throw new Refusal(Code.FAILED_PRECONDITION, `the facts in ${this.path} are open for reading only`)
    return explained(this.path, () =>
      this.db.transactionSync(() => {
        this.refresh()
        return work()
      }),
    )
  }

  private put(id: number, key: Buffer, value: Buffer): void {
    this.db.putSync(this.key.bytes(id, key, 0, key.length), value)
  }

  private putRows(id: number, plan: RecordPlan, rows: FactEntries): number {
    let written = 0
    for (const [key, record] of rows) {
      this.put(id, encodeKey(plan.table, key), encodeRecord(plan, key, record))
      written++
    }
    if (written > 0) this.nextVersion(id)
    return written
  }

  private putDeclaration(id: number, table: FactTable): void {
    const declaration = Buffer.from(JSON.stringify({ id, table: plainTable(table) }))
    this.put(catalogueId, Buffer.from(table.name), declaration)
  }

  /** A table number that was never used; the catalogue has changed. */
  private takeId(): number {
    const state = Buffer.alloc(8)
    state.writeUInt32LE((this.generation + 1) >>> 0, 0)
    state.writeUInt32LE(this.nextId + 1, 4)
    this.put(catalogueId, Buffer.alloc(0), state)
    return this.nextId
  }

  private putGarbage(id: number, name: string): void {
    this.put(catalogueId, garbageKey(id), Buffer.from(name))
  }

  private checkOwner(id: number, name: string): void {
    const owner = this.db.getBinaryFast(this.key.bytes(catalogueId, garbageKey(id), 0, 5))
    if (owner === undefined || owner.toString('utf8') !== name)
      throw new Refusal(Code.ABORTED, `fact table \`${name}\`: another load of it has begun, this one is undone`)
  }

  /** Deletes the rows that a table no longer has, or that a load left behind which did not end; little by little. */
  private collect(name: string): void {
    const ids = this.transact(() => {
      const entries = [...this.db.getRange(garbageRange)].map(({ key, value }) => ({
        key,
        name: value.toString('utf8'),
      }))
      const left = entries.filter((entry) => entry.name === name || entry.name === '')
      // No name: nobody's. Whoever still writes there is told so.
      for (const { key } of left) this.db.putSync(key, Buffer.alloc(0))
      return left.map(({ key }) => key.toBytes().readUInt32BE(1))
    })
    for (const id of ids) while (this.transact(() => this.deleteRows(id, deletedAtOnce)) === deletedAtOnce);
    this.transact(() => {
      for (const id of ids) this.db.removeSync(this.key.bytes(catalogueId, garbageKey(id), 0, 5))
    })
  }

  /** @returns how many */
  private deleteRows(id: number, limit = Infinity): number {
    const keys = [...this.db.getKeys({ ...range(id), limit })]
    for (const key of keys) this.db.removeSync(key)
    if (keys.length < limit) this.db.removeSync(this.key.bytes(catalogueId, versionKey(id), 0, 5))
    return keys.length
  }

  private find(name: string): Declared {
    return (
      this.declared.get(name) ??
      tableNotFound(
        name,
        [...this.declared.values()].map(({ plan }) => plan.table),
      )
    )
  }

  /** lmdb keeps a snapshot until the event loop turns: without a fresh one, a busy thread would read old facts for long. */
  private newSnapshot(): void {
    this.db.resetReadTxn()
    explained(this.path, () => this.refresh())
  }

  /** Brings the catalogue to the snapshot that the next reads see. */
  private refresh(): void {
    const state = this.db.getBinaryFast(this.key.bytes(catalogueId, nothing, 0, 0))
    const generation = state === undefined ? 0 : state.readUInt32LE(0)
    if (generation === this.generation) return
    const nextId = state === undefined ? 1 : state.readUInt32LE(4)
    const declared = new Map<string, Declared>()
    for (const { key, value } of this.db.getRange(range(catalogueId))) {
      if (key.length === 0 || key.first >= garbageMark) continue
      const { id, table } = JSON.parse(value.toString('utf8')) as { id: number; table: FactTable }
      declared.set(table.name, this.declaredAs(id) ?? this.declaration(id, table))
    }
    this.declared = declared
    this.nextId = nextId
    this.generation = generation
  }

  private declaration(id: number, table: FactTable): Declared {
    const plan = planRecord(table)
    return { id, plan, cache: new RowCache(plan, this.cacheBytesMax) }
  }

  /** Another number after every write to the table. */
  private versionOf(id: number): number {
    const version = this.db.getBinaryFast(this.key.bytes(catalogueId, versionKey(id), 0, 5))
    return version === undefined ? 0 : version.readUInt32LE(0)
  }

  private nextVersion(id: number): void {
    const version = Buffer.alloc(4)
    version.writeUInt32LE((this.versionOf(id) + 1) >>> 0)
    this.put(catalogueId, versionKey(id), version)
  }

  /** A declaration that did not change keeps its plan and its rows. */
  private declaredAs(id: number): Declared | undefined {
    for (const table of this.declared.values()) if (table.id === id) return table
    return undefined
  }
}

const catalogueId = 0
const nothing = Buffer.alloc(0)

/** Rows that one transaction deletes, so that other writers do not wait for long. */
const deletedAtOnce = 10_000

/** No name begins with these bytes: they are not UTF-8. */
const garbageMark = 0xfe
const versionMark = 0xff

const garbageKey = (id: number): Buffer => markedKey(garbageMark, id)
const versionKey = (id: number): Buffer => markedKey(versionMark, id)

function markedKey(mark: number, id: number): Buffer {
  const bytes = Buffer.allocUnsafe(5)
  bytes[0] = mark
  bytes.writeUInt32BE(id, 1)
  return bytes
}

const garbageRange: KeyRange = {
  start: new LmdbKey().bytes(catalogueId, Buffer.of(garbageMark), 0, 1),
  end: new LmdbKey().bytes(catalogueId, Buffer.of(versionMark), 0, 1),
}

/** All keys of a table. */
function range(id: number): KeyRange {
  return {
    start: new LmdbKey().bytes(id, nothing, 0, 0),
    end: new LmdbKey().bytes(id + 1, nothing, 0, 0),
  }
}
