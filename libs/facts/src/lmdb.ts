import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Code, Refusal } from '@millrace/base'
import { open } from 'lmdb'
import { ColumnsBuilder } from './columns'
import { checkKeyKind, encodeKey, isStringKeys, keyBytesMax } from './keys'
import { keyEncoder, LmdbKey } from './lmdb-key'
import { settle } from './memory'
import { encodeRecord, planRecord, type RecordPlan } from './record'
import type { FactKeys, FactRecord, FactRows, FactStore, FactTable } from './store'
import { plainTable, sameTable, tableNotFound, validateTable } from './table'

/*
 * Facts in LMDB: one memory-mapped folder that any number of threads and processes of a machine read while one
 * writes. Keys begin with a table's number, big endian, so that a table is a range:
 *
 *   0, ''       the catalogue's state: generation u32 (changes with every declaration), next table number u32
 *   0, name     a declaration, JSON: { id, table }
 *   id, key     a record
 *
 * A changed declaration gets a new number and its old rows are deleted in the same transaction, so a reader sees
 * the table before or after, never a mixture. Every read looks at the generation first, in its own snapshot.
 */

export interface LmdbOptions {
  /** Readers should: nothing is created, and the folder may belong to somebody else. */
  readonly readOnly: boolean
}

/** Opens the facts in folder `path`; a writer creates it. Throws a Refusal NOT_FOUND when a reader finds nothing. */
export function openLmdb(path: string, options: LmdbOptions): LmdbStore {
  if (options.readOnly && !existsSync(join(path, 'data.mdb')))
    throw new Refusal(Code.NOT_FOUND, `there are no facts in ${path}: run the feed that writes them first`)
  // One database, keys by our own encoder, values as they are. A folder, even where its name has a dot.
  const layout = { noSubdir: false, encoding: 'binary', keyEncoder } as const
  const db = open({ path, readOnly: options.readOnly, ...layout }) as unknown as Environment
  return new LmdbStore(path, db, options.readOnly)
}

/** The part of lmdb that we use, with our keys: its own types know only the keys of its own encoder. */
interface Environment {
  /** Valid until the next call. */
  getBinaryFast(key: LmdbKey): Buffer | undefined
  getRange(range: KeyRange): Iterable<{ readonly key: LmdbKey; readonly value: Buffer }>
  getKeys(range: KeyRange): Iterable<LmdbKey>
  putSync(key: LmdbKey, value: Buffer): void
  removeSync(key: LmdbKey): void
  transactionSync<T>(work: () => T): T
  resetReadTxn(): void
  close(): Promise<void>
}
interface KeyRange {
  readonly start: LmdbKey
  readonly end: LmdbKey
}

interface Declared {
  readonly id: number
  readonly plan: RecordPlan
  /** Mean bytes of text in a row, of what was read so far. */
  textBytesPerRow: number
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
  ) {}

  tables(): readonly FactTable[] {
    this.newSnapshot()
    return [...this.declared.values()].map(({ plan }) => plan.table)
  }

  read(name: string, keys: FactKeys): FactRows {
    const { db, key } = this
    this.newSnapshot()
    const table = this.find(name)
    checkKeyKind(table.plan.table, keys)
    const rows = keys.length
    const columns = new ColumnsBuilder(table.plan, rows, table.textBytesPerRow)
    if (isStringKeys(keys)) {
      const { spans, heap } = keys
      for (let i = 0; i < rows; i++) {
        const length = spans[2 * i + 1]!
        if (length > keyBytesMax) continue
        const record = db.getBinaryFast(key.bytes(table.id, heap, spans[2 * i]!, length))
        if (record !== undefined) columns.put(i, record, record.length)
      }
    } else {
      const bytes = new Uint8Array(keys.buffer, keys.byteOffset, keys.byteLength)
      for (let i = 0; i < rows; i++) {
        const record = db.getBinaryFast(key.u64(table.id, bytes, 8 * i))
        if (record !== undefined) columns.put(i, record, record.length)
      }
    }
    // Hold no snapshot between batches: the writer could not use its old pages again and the file would grow.
    db.resetReadTxn()
    if (rows > 0) table.textBytesPerRow = 0.5 * (table.textBytesPerRow + columns.textBytes / rows)
    return columns.finish()
  }

  declare(table: FactTable): Promise<void> {
    return settle(() => {
      validateTable(table)
      this.transact(() => {
        const old = this.declared.get(table.name)
        if (old !== undefined && sameTable(old.plan.table, table)) return
        if (old !== undefined) this.deleteRows(old.id)
        const id = this.nextId
        const declaration = Buffer.from(JSON.stringify({ id, table: plainTable(table) }))
        this.put(catalogueId, Buffer.from(table.name), declaration)
        const state = Buffer.alloc(8)
        state.writeUInt32LE((this.generation + 1) >>> 0, 0)
        state.writeUInt32LE(id + 1, 4)
        this.put(catalogueId, Buffer.alloc(0), state)
      })
    })
  }

  write(name: string, rows: Iterable<readonly [key: string | bigint, record: FactRecord]>): Promise<number> {
    return settle(() =>
      this.transact(() => {
        const { id, plan } = this.find(name)
        let written = 0
        for (const [key, record] of rows) {
          this.put(id, encodeKey(plan.table, key), encodeRecord(plan, key, record))
          written++
        }
        return written
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
    return this.db.transactionSync(() => {
      this.refresh()
      return work()
    })
  }

  private put(id: number, key: Buffer, value: Buffer): void {
    this.db.putSync(this.key.bytes(id, key, 0, key.length), value)
  }

  private deleteRows(id: number): void {
    const keys = [...this.db.getKeys(range(id))]
    for (const key of keys) this.db.removeSync(key)
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
    this.refresh()
  }

  /** Brings the catalogue to the snapshot that the next reads see. */
  private refresh(): void {
    const state = this.db.getBinaryFast(this.key.bytes(catalogueId, nothing, 0, 0))
    const generation = state === undefined ? 0 : state.readUInt32LE(0)
    if (generation === this.generation) return
    const nextId = state === undefined ? 1 : state.readUInt32LE(4)
    const declared = new Map<string, Declared>()
    for (const { key, value } of this.db.getRange(range(catalogueId))) {
      if (key.length === 0) continue
      const { id, table } = JSON.parse(value.toString('utf8')) as { id: number; table: FactTable }
      declared.set(table.name, this.declaredAs(id) ?? { id, plan: planRecord(table), textBytesPerRow: 16 })
    }
    this.declared = declared
    this.nextId = nextId
    this.generation = generation
  }

  /** A declaration that did not change keeps its plan. */
  private declaredAs(id: number): Declared | undefined {
    for (const table of this.declared.values()) if (table.id === id) return table
    return undefined
  }
}

const catalogueId = 0
const nothing = Buffer.alloc(0)

/** All keys of a table. */
function range(id: number): KeyRange {
  return {
    start: new LmdbKey().bytes(id, nothing, 0, 0),
    end: new LmdbKey().bytes(id + 1, nothing, 0, 0),
  }
}
